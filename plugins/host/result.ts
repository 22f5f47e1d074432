/** The host's network as a result, and as an addition to that of the plugins before in a chain. */

import { familyOf, formatAddress, type IpAddress } from '../../lib/address/address.ts'
import { formatPrefix, networkOf } from '../../lib/address/prefix.ts'
import { describeInterface } from '../../lib/attachment/result.ts'
import type { Dns, Interface, IpConfig, Result, Route } from '../../lib/cni/types.ts'
import type { Address } from '../../lib/netlink/route/addr/index.ts'
import type { Route as HostRoute, NextHop } from '../../lib/netlink/route/route/index.ts'
import type { HostInterface, HostNetwork } from './host-network.ts'

const ETHERNET_BYTES = 6

/** Interfaces keep their names, whatever CNI_IFNAME says, and have no sandbox: they are the host's. */
export function describeHostNetwork({ interfaces, routes }: HostNetwork): Result {
  const ips: IpConfig[] = []
  for (const [index, { link, addresses }] of interfaces.entries()) {
    for (const address of addresses) ips.push(describeAddress(address, index, gatewayOf(address, link.index, routes)))
  }
  const described: Route[] = []
  for (const route of routes) described.push(...describeRoute(route, interfaces))
  return { interfaces: interfaces.map(describe), ips, routes: described }
}

/** The hardware address of a tunnel has another length, or is its own IP address. */
function describe({ link: { name, mac, mtu } }: HostInterface): Interface {
  return describeInterface({ name, mtu, ...(mac?.length === ETHERNET_BYTES ? { mac } : {}) })
}

function describeAddress({ prefix }: Address, index: number, gateway: IpAddress | undefined): IpConfig {
  return {
    interface: index,
    address: formatPrefix(prefix),
    ...(gateway === undefined ? {} : { gateway: formatAddress(gateway) }),
  }
}

/** The next hop of the best default route that leaves by the link. */
function gatewayOf({ family }: Address, index: number, routes: readonly HostRoute[]): IpAddress | undefined {
  let best: { gateway: IpAddress; priority: number } | undefined
  for (const route of routes) {
    if (route.destination.length !== 0 || route.family !== family) continue
    if (best !== undefined && best.priority <= route.priority) continue
    const gateway = hopsOf(route).find(hop => hop.index === index)?.gateway
    if (gateway !== undefined && familyOf(gateway) === family) best = { gateway, priority: route.priority }
  }
  return best?.gateway
}

function hopsOf({ nextHops, index, gateway }: HostRoute): readonly NextHop[] {
  return nextHops ?? (index === undefined ? [] : [{ index, ...(gateway === undefined ? {} : { gateway }) }])
}

/** One for each next hop: results know no other form for a route with several. */
function describeRoute(route: HostRoute, interfaces: readonly HostInterface[]): Route[] {
  const { destination, priority, scope, metrics } = route
  return hopsOf(route)
    .filter(hop => interfaces.some(({ link }) => link.index === hop.index))
    .map(({ gateway }) => ({
      dst: formatPrefix(networkOf(destination)),
      ...(gateway === undefined ? {} : { gw: formatAddress(gateway) }),
      ...(metrics.mtu === undefined ? {} : { mtu: metrics.mtu }),
      ...(metrics.advmss === undefined ? {} : { advmss: metrics.advmss }),
      ...(priority === 0 ? {} : { priority }),
      ...(scope === 0 ? {} : { scope }),
    }))
}

/** What the chain has so far stays as it is, in its place; the host's follows where it is not there yet. */
export function mergeResults(before: Result, own: Result): Result {
  const interfaces = [...(before.interfaces ?? [])]
  const places = (own.interfaces ?? []).map(one => {
    const known = interfaces.findIndex(({ name, sandbox }) => name === one.name && !sandbox)
    return known < 0 ? interfaces.push(one) - 1 : known
  })
  const ips = [...(before.ips ?? [])]
  for (const ip of own.ips ?? []) {
    const moved = { ...ip, ...(ip.interface === undefined ? {} : { interface: places[ip.interface] ?? 0 }) }
    if (!ips.some(one => one.address === moved.address && one.interface === moved.interface)) ips.push(moved)
  }
  const routes = [...(before.routes ?? [])]
  for (const route of own.routes ?? []) {
    if (!routes.some(({ dst, gw }) => dst === route.dst && gw === route.gw)) routes.push(route)
  }
  return { ...before, interfaces, ips, routes }
}

/** @param given of the configuration @param hosts read only when nobody else says anything */
export function chooseDns(given: Dns | undefined, before: Result | undefined, hosts: () => Dns | undefined): Result {
  const dns = given ?? before?.dns ?? hosts()
  return dns === undefined ? {} : { dns }
}
