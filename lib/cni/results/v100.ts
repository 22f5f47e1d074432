/** Results of 1.0.0 and 1.1.0. The later one adds fields to interfaces and routes, which are kept out of the earlier. */

import { schema, validate } from '#validators/result-1'
import type { Result } from '../types.ts'
import { fullInterface, fullRoute, ipConfig, plainInterface, plainRoute, readIp, readRoute, resultOf } from './parts.ts'
import type { ResultFamily } from './result-family.ts'

export const family100: ResultFamily<Result> = {
  versions: ['1.0.0', '1.1.0'],
  schema,
  validate,

  // The Go library lets the later fields into documents of 1.0.0, so that they are read from both.
  read: document =>
    resultOf({
      interfaces: (document.interfaces ?? []).map(fullInterface),
      ips: (document.ips ?? []).map((ip, index) => readIp(ip, `ips[${index}]`)),
      routes: (document.routes ?? []).map((route, index) => readRoute(route, `routes[${index}]`)),
      dns: document.dns ?? {},
    }),

  write(result, version) {
    const later = version === '1.1.0'
    return {
      ...resultOf({
        interfaces: (result.interfaces ?? []).map(later ? fullInterface : plainInterface),
        ips: (result.ips ?? []).map(ipConfig),
        routes: (result.routes ?? []).map(later ? fullRoute : plainRoute),
        dns: result.dns ?? {},
      }),
    }
  },
}
