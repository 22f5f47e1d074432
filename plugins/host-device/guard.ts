/** Devices that the host cannot do without. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import type { Route } from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'

/** @param routes those through the link @throws CniError code 104 */
export function refuseIndispensable(
  host: NetlinkSocket,
  link: Link,
  routes: readonly Route[],
  config: { readonly allowDefaultRoute: boolean },
): void {
  if (link.loopback)
    throw new CniError(
      ErrorCode.conflict,
      `"${link.name}" is the host's loopback interface, which cannot be moved`,
      'every container has one of its own: name another device',
    )
  if (link.master !== undefined) {
    const master = getLink(host, { index: link.master })
    throw new CniError(
      ErrorCode.conflict,
      `"${link.name}" is a port of ${master?.kind ?? 'link'} "${master?.name ?? link.master}", which would lose it`,
      `release it with "ip link set ${link.name} nomaster", or name another device`,
    )
  }
  if (config.allowDefaultRoute || !routes.some(isDefaultRoute)) return
  throw new CniError(
    ErrorCode.conflict,
    `the host's default route leads through "${link.name}": without it the host would be cut off`,
    'name another device, or set "allowDefaultRoute": true if that is what you want',
  )
}

/** In any table: those of VPNs and of source routing count as well. */
function isDefaultRoute(route: Route): boolean {
  return route.destination.length === 0 && (route.type === 'unicast' || route.nextHops !== undefined)
}
