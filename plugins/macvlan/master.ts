/** The master: the link beneath the containers' macvlans. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import { listRoutes, RouteTable } from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { MacvlanConfig } from './config.ts'

/** The master, or undefined when there is no link of its name. @throws CniError code 109 without a default route */
export function findMaster(socket: NetlinkSocket, { master, linkInContainer }: MacvlanConfig): Link | undefined {
  if (master !== undefined) return getLink(socket, { name: master })
  const index = defaultRouteLink(socket)
  const link = index === undefined ? undefined : getLink(socket, { index })
  if (link !== undefined) return link
  throw new CniError(
    ErrorCode.linkMissing,
    `no "master" is given, and there is no default route ${where(linkInContainer)}`,
    'name an interface with the key "master"',
  )
}

/** The link of the default route that wins; IPv4's before IPv6's. */
function defaultRouteLink(socket: NetlinkSocket): number | undefined {
  for (const family of [4, 6] as const) {
    for (const route of listRoutes(socket, { family, table: RouteTable.main, type: 'unicast' })) {
      // The kernel lists those of one destination in the order of their priority.
      if (route.destination.length === 0) return route.index ?? route.nextHops?.[0]?.index
    }
  }
  return undefined
}

function where(linkInContainer: boolean): string {
  return linkInContainer ? 'in the container' : 'on the host'
}

export function missingMaster({ master, linkInContainer }: MacvlanConfig): CniError {
  return new CniError(
    ErrorCode.linkMissing,
    `master "${master}" does not exist ${where(linkInContainer)}`,
    '"ip link" lists the interfaces: correct the key "master", or leave it out for that of the default route',
  )
}

/** ARPHRD_ETHER, linux/if_arp.h */
const ETHERNET = 1

/**
 * Refuses what cannot be a master, and an MTU above the master's.
 * @throws CniError codes 7 and 104
 */
export function checkMaster(socket: NetlinkSocket, master: Link, { mtu }: MacvlanConfig): void {
  if (master.loopback || master.type !== ETHERNET) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `master "${master.name}" is ${master.loopback ? 'the loopback interface' : 'not an Ethernet interface'}`,
      'a macvlan needs an Ethernet interface: name another one with the key "master"',
    )
  }
  if (mtu > master.mtu) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `mtu ${mtu} is above that of master "${master.name}", ${master.mtu}`,
      `"ip link set ${master.name} mtu ${mtu}" raises it; or lower the key "mtu"`,
    )
  }
  if (master.master === undefined) return
  const owner = getLink(socket, { index: master.master })
  if (owner?.kind !== undefined && takesFrames.has(owner.kind)) {
    throw new CniError(
      ErrorCode.conflict,
      `master "${master.name}" is a port of ${owner.kind} "${owner.name}", which takes all of its frames`,
      `name "${owner.name}" itself as "master", or release the port with "ip link set ${master.name} nomaster"`,
    )
  }
}

/** Kinds of links that have a handler of their own on each port, of which the kernel allows one. */
const takesFrames: ReadonlySet<string> = new Set(['bridge', 'bond', 'team', 'openvswitch'])

/** The index of the link beneath a macvlan on this master: one that is a macvlan itself gives its own master. */
export function lowerIndex(master: Link): number | undefined {
  return master.kind === 'macvlan' ? master.parent : master.index
}
