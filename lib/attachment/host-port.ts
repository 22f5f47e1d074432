/** Ports of the host in the capability "portMappings". */

import { equalAddresses, formatAddress, type IpAddress, isUnspecified, parseAddress } from '../address/address.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Transport } from '../netlink/sock-diag/index.ts'

/** What an entry of runtimeConfig.portMappings says of the host, keys in the schema's spelling. */
export interface HostPortDocument {
  hostPort: number
  protocol?: string
  hostIP?: string
}

export interface HostPort {
  readonly transport: Transport
  readonly port: number
  /** Undefined for all addresses of both families; 0.0.0.0 and "::" for all of one. */
  readonly address: IpAddress | undefined
}

/** As errors name an entry. */
export function mappingName(index: number): string {
  return `runtimeConfig.portMappings[${index}]`
}

/** @param document checked by the schema, apart from the address @throws CniError code 7 */
export function parseHostPort({ hostPort: port, protocol, hostIP }: HostPortDocument, index: number): HostPort {
  const transport = (protocol?.toLowerCase() || 'tcp') as Transport
  const address = hostIP ? parseAddress(hostIP) : undefined
  if (!hostIP || address !== undefined) return { transport, port, address }
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `${mappingName(index)}.hostIP is ${JSON.stringify(hostIP)}, which is not an IP address`,
    'give an address of the host, or leave the key out for all of them',
  )
}

/**
 * By port and transport first: a range of thousands of ports is given as so many mappings.
 * @throws CniError code 7 naming two that want the same port
 */
export function refuseClashes(ports: readonly HostPort[]): void {
  const seen = new Map<string, number[]>()
  for (const [index, port] of ports.entries()) {
    const key = `${port.transport}/${port.port}`
    const others = seen.get(key) ?? []
    for (const other of others) {
      const first = ports[other]
      if (first === undefined || !shareAddress(first.address, port.address)) continue
      throw new CniError(
        ErrorCode.invalidNetworkConfig,
        `${mappingName(other)} and ${mappingName(index)} both want ${describeHostPort(port)}`,
        'only one can have it: remove one of them',
      )
    }
    seen.set(key, [...others, index])
  }
}

/** "TCP port 8080" or "TCP port 8080 of 10.0.0.5". */
export function describeHostPort({ transport, port, address }: HostPort): string {
  return `${transport.toUpperCase()} port ${port}${address === undefined ? '' : ` of ${formatAddress(address)}`}`
}

/** Whether two on one port would get in each other's way. Undefined: all addresses of both families. */
export function shareAddress(a: IpAddress | undefined, b: IpAddress | undefined): boolean {
  if (a === undefined || b === undefined) return true
  return equalAddresses(a, b) || (a.length === b.length && (isUnspecified(a) || isUnspecified(b)))
}
