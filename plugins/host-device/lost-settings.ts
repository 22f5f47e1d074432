/** Addresses and routes of a device, which the kernel takes from it when it leaves, so that a failed ADD can undo that. */

import { type Address, AddressFlag, addAddressRequest, listAddresses } from '../../lib/netlink/route/addr/index.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import {
  addRouteRequest,
  listRoutes,
  type Route,
  RouteProtocol,
  RouteScope,
} from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { Errno } from '../../lib/sys/errno.ts'

export interface LostSettings {
  readonly addresses: readonly Address[]
  /** All of them, those that the kernel made by itself included. */
  readonly routes: readonly Route[]
}

/** A link that is down has no routes; IPv6 has taken its addresses as well, as a rule. */
export function readLostSettings(host: NetlinkSocket, { index, up }: Link): LostSettings {
  return { addresses: listAddresses(host, { index }), routes: up ? listRoutes(host, { index }) : [] }
}

/**
 * Gives a device that is back its addresses and routes, those that it has again by itself left out. What the kernel makes
 * by itself comes with the link; routes over several links are left to who made them.
 * @throws NetlinkError
 */
export function bringBack(host: NetlinkSocket, index: number, { addresses, routes }: LostSettings): void {
  const requests = [
    ...addresses
      .filter(({ family, scope }) => family === 4 || scope !== RouteScope.link)
      .map(address =>
        addAddressRequest({
          ...address,
          index,
          broadcast: address.broadcast ?? false,
          noDad: true,
          noPrefixRoute: (address.flags & AddressFlag.noPrefixRoute) !== 0,
        }),
      ),
    ...routes.flatMap(route =>
      route.type !== 'unicast' || route.protocol === RouteProtocol.kernel || route.nextHops !== undefined
        ? []
        : [addRouteRequest({ ...route, type: 'unicast', index })],
    ),
  ]
  host.executeAll(requests, { expected: [Errno.EEXIST] })
}
