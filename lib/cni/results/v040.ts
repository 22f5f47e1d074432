/** Results of 0.3.0, 0.3.1 and 0.4.0: addresses name their family, and `dns` is always there, as Go prints it. */

import { schema, validate } from '#validators/result-0.4'
import type { Result } from '../types.ts'
import { dnsOf, fullRoute, ipConfig, plainInterface, readIp, readRoute, resultOf } from './parts.ts'
import type { ResultFamily } from './result-family.ts'

export const family040: ResultFamily<Result> = {
  versions: ['0.3.0', '0.3.1', '0.4.0'],
  schema,
  validate,

  read: document =>
    resultOf({
      interfaces: (document.interfaces ?? []).map(plainInterface),
      ips: (document.ips ?? []).map((ip, index) => readIp(ip, `ips[${index}]`)),
      routes: (document.routes ?? []).map((route, index) => readRoute(route, `routes[${index}]`)),
      dns: document.dns ?? {},
    }),

  write(result) {
    const { interfaces = [], ips = [], routes = [], dns = {} } = result
    return {
      dns: dnsOf(dns),
      ...(interfaces.length > 0 ? { interfaces: interfaces.map(plainInterface) } : {}),
      ...(ips.length > 0
        ? { ips: ips.map(ip => ({ version: ip.address.includes(':') ? '6' : '4', ...ipConfig(ip) })) }
        : {}),
      // Go keeps the routes' fields of 1.1.0 in these versions; plugins further down the chain may read them.
      ...(routes.length > 0 ? { routes: routes.map(fullRoute) } : {}),
    }
  },
}
