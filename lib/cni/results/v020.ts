/** Results of 0.1.0 and 0.2.0: at most one address of each family, routes beside their family's address. */

import { schema, validate } from '#validators/result-0.2'
import { CniError, ErrorCode } from '../errors.ts'
import type { Dns, IpConfig, Result, Route } from '../types.ts'
import { canonicalAddress, canonicalPrefix, dnsOf, plainRoute, readRoute, resultOf } from './parts.ts'
import type { ResultFamily } from './result-family.ts'

interface FamilyPart {
  ip: string
  gateway?: string
  routes?: Route[]
}

interface Document020 {
  ip4?: FamilyPart
  ip6?: FamilyPart
  dns?: Dns
}

export const family020: ResultFamily<Document020> = {
  versions: ['0.1.0', '0.2.0'],
  schema,
  validate,

  read(document) {
    const ips: IpConfig[] = []
    const routes: Route[] = []
    for (const name of ['ip4', 'ip6'] as const) {
      const part = document[name]
      if (part === undefined) continue
      ips.push({
        address: canonicalPrefix(part.ip, `${name}.ip`),
        ...(part.gateway ? { gateway: canonicalAddress(part.gateway, `${name}.gateway`) } : {}),
      })
      routes.push(
        ...(part.routes ?? []).map((route, index) => plainRoute(readRoute(route, `${name}.routes[${index}]`))),
      )
    }
    return resultOf({ interfaces: [], ips, routes, dns: document.dns ?? {} })
  },

  write(result) {
    const ip4 = familyPart(result, false)
    const ip6 = familyPart(result, true)
    if (ip4 === undefined && ip6 === undefined) {
      throw new CniError(
        ErrorCode.incompatibleVersion,
        'cannot convert: no valid IP addresses',
        'a result of 0.1.0 or 0.2.0 needs an address: set "cniVersion" to 0.3.0 or newer, or configure "ipam"',
      )
    }
    return { dns: dnsOf(result.dns ?? {}), ...(ip4 ? { ip4 } : {}), ...(ip6 ? { ip6 } : {}) }
  },
}

/** The first address of the family with the family's routes; there is no place for others. */
function familyPart(result: Result, ipv6: boolean): FamilyPart | undefined {
  const ip = result.ips?.find(({ address }) => address.includes(':') === ipv6)
  if (ip === undefined) return undefined
  const routes = (result.routes ?? []).filter(({ dst }) => dst.includes(':') === ipv6).map(plainRoute)
  return { ip: ip.address, ...(ip.gateway ? { gateway: ip.gateway } : {}), ...(routes.length > 0 ? { routes } : {}) }
}
