/** The parts of a result that are the same in several versions, copied field by field: known ones, and set ones, only. */

import { formatAddress, parseAddress } from '../../address/address.ts'
import { formatPrefix, parsePrefix } from '../../address/prefix.ts'
import { CniError, ErrorCode } from '../errors.ts'
import type { Dns, Interface, IpConfig, Result, Route } from '../types.ts'

/** @throws CniError code 7 */
export function canonicalPrefix(text: string, where: string): string {
  const prefix = parsePrefix(text)
  if (prefix !== undefined) return formatPrefix(prefix)
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `"${where}" is ${JSON.stringify(text)}, which is not an address with its prefix length`,
    `${where}: "10.1.0.5/16" for example`,
  )
}

/** @throws CniError code 7 */
export function canonicalAddress(text: string, where: string): string {
  const address = parseAddress(text)
  if (address !== undefined) return formatAddress(address)
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `"${where}" is ${JSON.stringify(text)}, which is not an IP address`,
    `${where}: "10.1.0.1" for example`,
  )
}

/** An interface as versions up to 0.4.0 and 1.0.0 know it. */
export function plainInterface({ name, mac, sandbox }: Interface): Interface {
  return { name, ...(mac ? { mac } : {}), ...(sandbox ? { sandbox } : {}) }
}

/** With the fields of 1.1.0. */
export function fullInterface(from: Interface): Interface {
  const { mtu, socketPath, pciID } = from
  return {
    ...plainInterface(from),
    ...(mtu ? { mtu } : {}),
    ...(socketPath ? { socketPath } : {}),
    ...(pciID ? { pciID } : {}),
  }
}

export function ipConfig({ interface: index, address, gateway }: IpConfig): IpConfig {
  return { ...(index === undefined ? {} : { interface: index }), address, ...(gateway ? { gateway } : {}) }
}

/** A route as versions before 1.1.0 know it. */
export function plainRoute({ dst, gw }: Route): Route {
  return { dst, ...(gw ? { gw } : {}) }
}

/** With the fields of 1.1.0. Table and scope 0 mean something (Go: pointers), the other zeros mean "not set". */
export function fullRoute(from: Route): Route {
  const { mtu, advmss, priority, table, scope } = from
  return {
    ...plainRoute(from),
    ...(mtu ? { mtu } : {}),
    ...(advmss ? { advmss } : {}),
    ...(priority ? { priority } : {}),
    ...(table === undefined ? {} : { table }),
    ...(scope === undefined ? {} : { scope }),
  }
}

export function dnsOf({ nameservers, domain, search, options }: Dns): Dns {
  return {
    ...(nameservers?.length ? { nameservers } : {}),
    ...(domain ? { domain } : {}),
    ...(search?.length ? { search } : {}),
    ...(options?.length ? { options } : {}),
  }
}

/** A result of these parts; empty ones are left out. */
export function resultOf(parts: Required<Result>): Result {
  const dns = dnsOf(parts.dns)
  return {
    ...(Object.keys(dns).length > 0 ? { dns } : {}),
    ...(parts.interfaces.length > 0 ? { interfaces: parts.interfaces } : {}),
    ...(parts.ips.length > 0 ? { ips: parts.ips } : {}),
    ...(parts.routes.length > 0 ? { routes: parts.routes } : {}),
  }
}

/** Addresses as read from a document, in canonical text. @throws CniError code 7 */
export function readIp(from: IpConfig, where: string): IpConfig {
  return ipConfig({
    ...from,
    address: canonicalPrefix(from.address, `${where}.address`),
    ...(from.gateway ? { gateway: canonicalAddress(from.gateway, `${where}.gateway`) } : {}),
  })
}

/** A route as read from a document, in canonical text. @throws CniError code 7 */
export function readRoute(from: Route, where: string): Route {
  return fullRoute({
    ...from,
    dst: canonicalPrefix(from.dst, `${where}.dst`),
    ...(from.gw ? { gw: canonicalAddress(from.gw, `${where}.gw`) } : {}),
  })
}
