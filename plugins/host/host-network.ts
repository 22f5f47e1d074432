/** What of the host's network a container gets to know: interfaces that can be reached, their addresses, and the routes. */

import { CniError } from '../../lib/cni/errors.ts'
import { type Address, AddressFlag, listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import {
  listRoutes,
  type Route,
  RouteFlag,
  RouteProtocol,
  RouteScope,
  RouteTable,
} from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { isChosen } from './interface-pattern.ts'

export interface HostInterface {
  readonly link: Link
  /** Not empty. */
  readonly addresses: readonly Address[]
}

export interface HostNetwork {
  /** Those with a default route first, the better one before; loopback last. */
  readonly interfaces: readonly HostInterface[]
  /** The main table's routes through one of the interfaces, without those that follow from the addresses. */
  readonly routes: readonly Route[]
}

/**
 * The host's network, when there is one: a host that still boots has none, and an empty result would be of no use.
 * @param patterns the key "interfaces"
 * @param code what it is when there is none
 * @throws CniError
 */
export function requireHostNetwork(host: NetlinkSocket, patterns: readonly string[], code: number): HostNetwork {
  const network = readHostNetwork(host, patterns)
  if (network.interfaces.length > 0) return network
  if (patterns.length === 0) {
    throw new CniError(
      code,
      'no interface of the host is up and has an address that others can reach',
      'bring the network of the host up: "ip address" shows its state',
    )
  }
  throw new CniError(
    code,
    `no interface of the host that "interfaces" ${JSON.stringify(patterns)} chooses is up and has an address that others can reach`,
    'compare with "ip address", or leave the key out for all interfaces',
  )
}

function readHostNetwork(host: NetlinkSocket, patterns: readonly string[]): HostNetwork {
  const found = readInterfaces(host, patterns)
  if (found.length === 0) return { interfaces: [], routes: [] }
  const routes = listRoutes(host, { table: RouteTable.main })
    .filter(isTold)
    .filter(route => found.some(({ link }) => leavesBy(route, link.index)))
  const ranks = new Map(found.map(({ link }) => [link, rank(link, routes)]))
  const rankOf = ({ link }: HostInterface) => ranks.get(link) ?? 0
  return { interfaces: found.sort((a, b) => rankOf(a) - rankOf(b) || a.link.index - b.link.index), routes }
}

/** By the addresses: of a thousand links with a container behind them, none is even looked at. */
function readInterfaces(host: NetlinkSocket, patterns: readonly string[]): HostInterface[] {
  const byIndex = new Map<number, Address[]>()
  for (const address of listAddresses(host)) {
    if (!isOfHost(address)) continue
    const others = byIndex.get(address.index)
    if (others === undefined) byIndex.set(address.index, [address])
    else others.push(address)
  }
  const found: HostInterface[] = []
  for (const [index, addresses] of byIndex) {
    const link = getLink(host, { index })
    if (link === undefined || !link.up || link.bridgePort !== undefined || isContainersGateway(link, addresses))
      continue
    if (isChosen(patterns, [link.name, ...link.alternativeNames])) found.push({ link, addresses })
  }
  return found
}

/** Whether others can reach the host at the address, and tomorrow still. */
function isOfHost({ scope, prefix, family, flags }: Address): boolean {
  if (scope >= RouteScope.link) return false
  if (family === 4) return !(prefix.address[0] === 169 && prefix.address[1] === 254)
  // The bit of "secondary" means "temporary" in IPv6: an address that privacy extensions replace every day.
  return (flags & (AddressFlag.secondary | AddressFlag.deprecated | AddressFlag.dadFailed)) === 0
}

/** The host's end of a veth pair that has one container behind it (ptp and the like): it has a gateway's address alone. */
function isContainersGateway(link: Link, addresses: readonly Address[]): boolean {
  return link.kind === 'veth' && addresses.every(({ prefix }) => prefix.length === prefix.address.length * 8)
}

/** By whom routes are made that say how the world is reached; those of routing daemons can be a million. */
const tellingProtocols: readonly number[] = [
  RouteProtocol.boot,
  RouteProtocol.static,
  RouteProtocol.ra,
  RouteProtocol.dhcp,
]
const unusable = RouteFlag.dead | RouteFlag.linkDown

function isTold({ type, flags, destination, protocol }: Route): boolean {
  if (type !== 'unicast' || (flags & unusable) !== 0) return false
  return destination.length === 0 || tellingProtocols.includes(protocol)
}

function leavesBy(route: Route, index: number): boolean {
  return route.index === index || (route.nextHops?.some(hop => hop.index === index) ?? false)
}

const LAST = Number.MAX_SAFE_INTEGER

/** The priority of its best default route: lower is better. IPv6's, whose ordinary priority is 1024, comes after IPv4's. */
function rank(link: Link, routes: readonly Route[]): number {
  let best = link.loopback ? LAST : LAST - 1
  for (const route of routes) {
    if (route.destination.length !== 0 || !leavesBy(route, link.index)) continue
    best = Math.min(best, route.priority + (route.family === 6 ? 2 ** 32 : 0))
  }
  return best
}
