/** What an IPAM result means for a bridge network: the container's addresses and routes, the bridge's own addresses. */

import {
  type Family,
  familyOf,
  formatAddress,
  type IpAddress,
  nextAddress,
  parseAddress,
} from '../../lib/address/address.ts'
import { formatPrefix, networkAddress, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { IpConfig, Result, Route } from '../../lib/cni/types.ts'
import type { BridgeConfig } from './config.ts'

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
  /** Addresses for the bridge: one per address of the container when the bridge is the gateway. */
  readonly bridgeAddresses: readonly Prefix[]
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

/** @throws CniError when the IPAM plugin's answer makes no sense */
export function deriveAddressing(config: BridgeConfig, ipam: Result): Addressing {
  const addresses: Prefix[] = []
  const bridgeAddresses: Prefix[] = []
  const ips: IpConfig[] = []
  const resultRoutes: Route[] = [...(ipam.routes ?? [])]
  const gateways = new Map<Family, IpAddress>()
  if ((ipam.ips ?? []).length === 0) badAnswer('without any address')

  for (const ip of ipam.ips ?? []) {
    const prefix = prefixFrom(ip.address, 'address')
    const family = familyOf(prefix.address)
    const given = ip.gateway === undefined ? undefined : addressFrom(ip.gateway, 'gateway')
    const gateway = given ?? (config.isGateway ? nextAddress(networkAddress(prefix)) : undefined)
    addresses.push(prefix)
    ips.push({ address: formatPrefix(prefix), ...(gateway === undefined ? {} : { gateway: formatAddress(gateway) }) })
    if (gateway === undefined) continue
    if (!gateways.has(family)) gateways.set(family, gateway)
    if (config.isGateway) bridgeAddresses.push({ address: gateway, length: prefix.length })
    if (config.isDefaultGateway && !resultRoutes.some(route => route.dst === defaultRoutes[family] && route.gw)) {
      resultRoutes.push({ dst: defaultRoutes[family], gw: formatAddress(gateway) })
    }
  }

  const routes = resultRoutes.map((route): RouteSpec => {
    const destination = prefixFrom(route.dst, 'route')
    if (route.gw) return { destination, gateway: addressFrom(route.gw, 'route gateway'), route }
    const onLink = (route.scope ?? 0) >= LINK_SCOPE
    return { destination, gateway: onLink ? undefined : gateways.get(familyOf(destination.address)), route }
  })
  return { addresses, routes, bridgeAddresses, ips, resultRoutes }
}
