/** The capability "portMappings" on a host whose ports nobody translates. */

import {
  equalAddresses,
  formatAddress,
  type IpAddress,
  isUnspecified,
  parseAddress,
} from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Transport } from '../../lib/netlink/sock-diag/index.ts'

/** An entry of runtimeConfig.portMappings, keys in the schema's spelling. */
export interface PortMappingDocument {
  hostPort: number
  containerPort?: number
  protocol?: string
  hostIP?: string
}

export interface PortMapping {
  readonly transport: Transport
  readonly port: number
  /** Undefined for all addresses of both families; 0.0.0.0 and "::" for all of one. */
  readonly address: IpAddress | undefined
}

/** @throws CniError code 7 */
export function parsePortMappings(documents: readonly PortMappingDocument[]): PortMapping[] {
  const mappings = documents.map(parsePortMapping)
  refuseClashes(mappings)
  return mappings
}

function parsePortMapping(document: PortMappingDocument, index: number): PortMapping {
  const { hostPort: port, containerPort, protocol, hostIP } = document
  if (containerPort && containerPort !== port) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `${where(index)}: hostPort ${port} and containerPort ${containerPort} differ, but in the host's network nothing translates ports`,
      `have the container listen on ${port} and map it to itself, or use a plugin with port mapping, as bridge with portmap`,
    )
  }
  // Checked by the schema.
  const transport = (protocol?.toLowerCase() || 'tcp') as Transport
  return { transport, port, address: hostIP ? parseHostAddress(hostIP, index) : undefined }
}

function parseHostAddress(text: string, index: number): IpAddress {
  const address = parseAddress(text)
  if (address !== undefined) return address
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `${where(index)}.hostIP is ${JSON.stringify(text)}, which is not an IP address`,
    'give an address of the host, or leave the key out for all of them',
  )
}

function where(index: number): string {
  return `runtimeConfig.portMappings[${index}]`
}

/** By port and transport first: a range of thousands of ports is given as so many mappings. */
function refuseClashes(mappings: readonly PortMapping[]): void {
  const seen = new Map<string, number[]>()
  for (const [index, mapping] of mappings.entries()) {
    const key = `${mapping.transport}/${mapping.port}`
    const others = seen.get(key) ?? []
    for (const other of others) {
      const first = mappings[other]
      if (first === undefined || !shareAddress(first.address, mapping.address)) continue
      throw new CniError(
        ErrorCode.invalidNetworkConfig,
        `${where(other)} and ${where(index)} both want ${describeMapping(mapping)}`,
        'only one socket can listen there: remove one of them',
      )
    }
    seen.set(key, [...others, index])
  }
}

/** "TCP port 8080" or "TCP port 8080 of 10.0.0.5". */
export function describeMapping({ transport, port, address }: PortMapping): string {
  return `${transport.toUpperCase()} port ${port}${address === undefined ? '' : ` of ${formatAddress(address)}`}`
}

/** Whether two sockets on one port would get in each other's way. Undefined: all addresses of both families. */
export function shareAddress(a: IpAddress | undefined, b: IpAddress | undefined): boolean {
  if (a === undefined || b === undefined) return true
  return equalAddresses(a, b) || (a.length === b.length && (isUnspecified(a) || isUnspecified(b)))
}
