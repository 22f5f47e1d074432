/** Message types of NETLINK_ROUTE. @see linux/rtnetlink.h, RTM_* */

export const RouteMessage = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  deleteNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  deleteRule: 33,
  getRule: 34,
  getNamespaceId: 90,
  newLinkProperty: 108,
  deleteLinkProperty: 109,
} as const
