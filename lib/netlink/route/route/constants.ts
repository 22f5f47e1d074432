/** Numbers of routing. @see linux/rtnetlink.h */

/** What a route does with packets. RTN_* */
export const routeTypes = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  nat: 10,
} as const
export type RouteType = keyof typeof routeTypes

/** How far the destination is. RT_SCOPE_* */
export const RouteScope = { universe: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const

/** RT_TABLE_* */
export const RouteTable = { default: 253, main: 254, local: 255 } as const

/** Who made the route. RTPROT_* */
export const RouteProtocol = { unspecified: 0, redirect: 1, kernel: 2, boot: 3, static: 4, ra: 9, dhcp: 16 } as const

/** RTNH_F_* of the route's next hop, and RTM_F_* of the route. */
export const RouteFlag = { dead: 1, onLink: 4, linkDown: 16, cloned: 0x200, prefix: 0x800 } as const
