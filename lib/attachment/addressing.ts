/** What an IPAM result means for the container's interface: its addresses and routes. */

import { type Family, familyOf, formatAddress, type IpAddress, nextAddress, parseAddress } from '../address/address.ts'
import { formatPrefix, networkAddress, type Prefix, parsePrefix } from '../address/prefix.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { IpConfig, Result, Route } from '../cni/types.ts'

export interface RouteSpec {
  readonly destination: Prefix
  /** Undefined for a route without a next hop: the destination is on the link. */
  readonly gateway: IpAddress | undefined
  /** As the result tells it, with mtu, advmss, priority, table and scope. */
  readonly route: Route
}

export interface Addressing {
  /** The container's addresses. */
  readonly addresses: readonly Prefix[]
  readonly routes: readonly RouteSpec[]
  /** The gateway of each address, with the address's own prefix length; undefined for one without. */
  readonly gateways: readonly (Prefix | undefined)[]
  /** For the result: gateways filled in, default routes added. `interface` is not set. */
  readonly ips: readonly IpConfig[]
  readonly resultRoutes: readonly Route[]
}

/** RT_SCOPE_LINK, linux/rtnetlink.h: from here on a route's destination is not behind a gateway. */
const LINK_SCOPE = 253

const defaultRoutes: Readonly<Record<Family, string>> = { 4: '0.0.0.0/0', 6: '::/0' }

function badAnswer(what: string): never {
  throw new CniError(ErrorCode.delegateFailed, `the IPAM plugin answered ${what}`, 'mend or replace the IPAM plugin')
}

function prefixFrom(text: string, where: string): Prefix {
  return parsePrefix(text) ?? badAnswer(`${where} "${text}", which is no prefix`)
}

function addressFrom(text: string, where: string): IpAddress {
  return parseAddress(text) ?? badAnswer(`${where} "${text}", which is no address`)
}

export interface AddressingOptions {
  /** An address without a gateway has the first of its subnet as gateway. */
  readonly isGateway?: boolean
  /** A default route through the first gateway of each family, unless the result has one. */
  readonly isDefaultGateway?: boolean
}

/** @throws CniError when the IPAM plugin's answer makes no sense */
export function deriveAddressing(ipam: Result, options: AddressingOptions = {}): Addressing {
  const addresses: Prefix[] = []
  const gateways: (Prefix | undefined)[] = []
  const ips: IpConfig[] = []
  const resultRoutes: Route[] = [...(ipam.routes ?? [])]
  const firstGateways = new Map<Family, IpAddress>()
  if ((ipam.ips ?? []).length === 0) badAnswer('without any address')

  for (const ip of ipam.ips ?? []) {
    const prefix = prefixFrom(ip.address, 'address')
    const family = familyOf(prefix.address)
    const given = ip.gateway === undefined ? undefined : addressFrom(ip.gateway, 'gateway')
    const gateway = given ?? (options.isGateway ? nextAddress(networkAddress(prefix)) : undefined)
    addresses.push(prefix)
    gateways.push(gateway && { address: gateway, length: prefix.length })
    ips.push({ address: formatPrefix(prefix), ...(gateway === undefined ? {} : { gateway: formatAddress(gateway) }) })
    if (gateway === undefined) continue
    if (!firstGateways.has(family)) firstGateways.set(family, gateway)
    if (options.isDefaultGateway && !resultRoutes.some(route => route.dst === defaultRoutes[family] && route.gw)) {
      resultRoutes.push({ dst: defaultRoutes[family], gw: formatAddress(gateway) })
    }
  }

  const routes = resultRoutes.map((route): RouteSpec => {
    const destination = prefixFrom(route.dst, 'route')
    if (route.gw) return { destination, gateway: addressFrom(route.gw, 'route gateway'), route }
    const onLink = (route.scope ?? 0) >= LINK_SCOPE
    return { destination, gateway: onLink ? undefined : firstGateways.get(familyOf(destination.address)), route }
  })
  return { addresses, routes, gateways, ips, resultRoutes }
}
