/** CHECK: the container's interface is as ADD left it. What later plugins of the chain may change is left to them. */

import { equalAddresses, type IpAddress, parseAddress } from '../address/address.ts'
import { formatMac } from '../address/mac.ts'
import { formatPrefix, networkOf, type Prefix, parsePrefix, samePrefix } from '../address/prefix.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { AttachmentRequest, Result, Route } from '../cni/types.ts'
import { listAddresses } from '../netlink/route/addr/index.ts'
import { getLink, type Link } from '../netlink/route/link/index.ts'
import { listRoutes, type Route as PresentRoute } from '../netlink/route/route/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'

/** @throws CniError code 102 */
export function failCheck(message: string, details?: string): never {
  throw new CniError(ErrorCode.checkFailed, message, details ?? 'DEL and ADD set the attachment up anew')
}

/** ADD's result, which CHECK compares with. @throws CniError code 7 */
export function requirePrevResult({ prevResult }: AttachmentRequest): Result {
  if (prevResult !== undefined) return prevResult
  throw new CniError(ErrorCode.invalidNetworkConfig, 'required prevResult is missing', 'CHECK needs the result of ADD')
}

export interface OwnAddress {
  readonly prefix: Prefix
  readonly gateway: string | undefined
}

/** Addresses of the result that belong to this interface: other plugins' interfaces may stand in it too. */
export function ownAddresses(request: AttachmentRequest, result: Result): OwnAddress[] {
  return (result.ips ?? []).flatMap(ip => {
    const owner = ip.interface === undefined ? undefined : result.interfaces?.[ip.interface]
    if (owner !== undefined && (owner.name !== request.ifname || owner.sandbox !== request.netns)) return []
    const prefix = parsePrefix(ip.address)
    return prefix === undefined ? [] : [{ prefix, gateway: ip.gateway }]
  })
}

/** The container's interface: there, of its kind, up (or down) as wanted, with the MAC address of the result. */
export function checkInterface(
  container: NetlinkSocket,
  request: AttachmentRequest,
  wanted: { readonly kind?: string; readonly up: boolean },
  result: Result,
): Link {
  const link = getLink(container, { name: request.ifname })
  if (link === undefined) failCheck(`interface "${request.ifname}" is gone from the container`)
  if (wanted.kind !== undefined && link.kind !== wanted.kind) {
    failCheck(`interface "${request.ifname}" is of kind "${link.kind}", not "${wanted.kind}"`)
  }
  if (link.up !== wanted.up) failCheck(`interface "${request.ifname}" is ${link.up ? 'up' : 'down'}`)
  const macText = formatMac(link.mac ?? new Uint8Array())
  const expected = result.interfaces?.find(one => one.name === request.ifname && one.sandbox === request.netns)
  if (expected === undefined) failCheck(`prevResult does not list interface "${request.ifname}" in "${request.netns}"`)
  if (expected.mac && expected.mac.toLowerCase() !== macText) {
    failCheck(`interface "${request.ifname}" has MAC ${macText}, prevResult says ${expected.mac}`)
  }
  return link
}

export function checkAddresses(container: NetlinkSocket, link: Link, prefixes: readonly Prefix[]): void {
  const present = listAddresses(container, { index: link.index })
  for (const prefix of prefixes) {
    if (!present.some(address => samePrefix(address.prefix, prefix))) {
      failCheck(`address ${formatPrefix(prefix)} is gone from "${link.name}"`)
    }
  }
}

/** @throws CniError code 105 */
export function checkRoutes(container: NetlinkSocket, ifname: string, routes: readonly Route[]): void {
  const missing = missingRoute(container, routes)
  if (missing === undefined) return
  failCheck(
    `route to ${missing.dst}${missing.gw ? ` via ${missing.gw}` : ''} is gone from the container, which had it through "${ifname}"`,
  )
}

/**
 * The first of the routes that the namespace lacks. Through whichever link: another attachment may have the same route
 * already, and the result may name another's. In whichever table where the result names none: sbr moves routes to tables
 * of its own, and results before 1.1.0 cannot name one.
 */
export function missingRoute(socket: NetlinkSocket, routes: readonly Route[]): Route | undefined {
  if (routes.length === 0) return undefined
  const present = listRoutes(socket)
  return routes.find(route => {
    const destination = parsePrefix(route.dst)
    const gateway = route.gw ? parseAddress(route.gw) : undefined
    if (destination === undefined) return false
    return !present.some(
      one =>
        (route.table === undefined || one.table === route.table) &&
        samePrefix(one.destination, networkOf(destination)) &&
        (gateway === undefined || hasGateway(one, gateway)),
    )
  })
}

function hasGateway({ gateway, nextHops = [] }: PresentRoute, wanted: IpAddress): boolean {
  return [{ gateway }, ...nextHops].some(hop => hop.gateway !== undefined && equalAddresses(hop.gateway, wanted))
}
