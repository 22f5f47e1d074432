/** Mappings of one request that want the same port. */

import { equalAddresses, formatAddress, type IpAddress, isUnspecified } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { PortMapping } from '../../lib/firewall/port-forwarding.ts'

/** By port and transport first: a range of thousands of ports is given as so many mappings. @throws CniError code 7 */
export function refuseClashes(mappings: readonly PortMapping[]): void {
  const seen = new Map<string, number[]>()
  for (const [index, mapping] of mappings.entries()) {
    const key = `${mapping.transport}/${mapping.hostPort}`
    const others = seen.get(key) ?? []
    for (const other of others) {
      const first = mappings[other]
      if (first === undefined || !shareAddress(first.hostAddress, mapping.hostAddress)) continue
      throw new CniError(
        ErrorCode.invalidNetworkConfig,
        `runtimeConfig.portMappings[${other}] and [${index}] both want ${describeMapping(mapping)}`,
        'a port leads to one place: remove one of them',
      )
    }
    seen.set(key, [...others, index])
  }
}

/** "TCP port 8080" or "TCP port 8080 of 10.0.0.5". */
export function describeMapping({ transport, hostPort, hostAddress }: PortMapping): string {
  return `${transport.toUpperCase()} port ${hostPort}${hostAddress === undefined ? '' : ` of ${formatAddress(hostAddress)}`}`
}

/** Undefined: all addresses of both families. */
function shareAddress(a: IpAddress | undefined, b: IpAddress | undefined): boolean {
  if (a === undefined || b === undefined) return true
  return equalAddresses(a, b) || (a.length === b.length && (isUnspecified(a) || isUnspecified(b)))
}
