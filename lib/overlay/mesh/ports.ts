/** Ports of services, as configurations name them: 8080 or "8000-8010". */

import { parseAddress } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { ServiceMembership, ServicePort } from '../agent-protocol.ts'

/** IPPROTO_* */
export const IpProtocol = { tcp: 6, udp: 17, sctp: 132 } as const

/** The opposite of IpProtocol. @throws RangeError for a number that services do not have */
export function protocolName(number: number): keyof typeof IpProtocol {
  for (const name of ['tcp', 'udp', 'sctp'] as const) if (IpProtocol[name] === number) return name
  throw new RangeError(`${number} is no protocol of services`)
}

export interface PortRange {
  readonly first: number
  readonly last: number
}

/** Reads a port or a range; undefined for anything else. */
export function parsePortRange(value: number | string): PortRange | undefined {
  const parts = typeof value === 'number' ? [value, value] : value.split('-').map(portNumber)
  const [first, last = first] = parts
  const valid = (port: number | undefined): port is number =>
    port !== undefined && Number.isInteger(port) && port >= 1 && port <= 65535
  return parts.length <= 2 && valid(first) && valid(last) && first <= last ? { first, last } : undefined
}

const portNumber = (text: string): number => (/^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : Number.NaN)

/** What a service's port says in a few words: `8080/tcp`. */
export function formatPort({ published, protocol }: Pick<ServicePort, 'published' | 'protocol'>): string {
  return `${published}/${protocol}`
}

/** Published and target port, one pair for each port of the range. The service must have been checked. */
export function portPairs({ published, target }: ServicePort): { published: number; target: number }[] {
  const from = parsePortRange(published)
  const to = parsePortRange(target)
  if (from === undefined || to === undefined) return []
  const pairs: { published: number; target: number }[] = []
  for (let port = from.first; port <= from.last; port++) {
    pairs.push({ published: port, target: to.first === to.last ? to.first : to.first + port - from.first })
  }
  return pairs
}

/**
 * Checks what an attachment says of its services: ports, ranges, addresses, nothing twice.
 * @throws CniError code 7 naming the service and the value
 */
export function checkServices(services: readonly ServiceMembership[]): void {
  const names = new Set<string>()
  /** Who has a published port, by `tcp 8080`. */
  const owners = new Map<string, string>()
  for (const service of services) {
    if (names.has(service.name)) throw wrong(service, 'is named twice', 'Give the ports of a service in one list.')
    names.add(service.name)
    for (const port of service.ports) {
      checkPort(service, port)
      for (const { published } of portPairs(port)) {
        const key = `${port.protocol} ${published}`
        const owner = owners.get(key)
        if (owner !== undefined)
          throw wrong(service, `publishes port ${published}/${port.protocol}, and so does "${owner}"`, 'Remove one.')
        owners.set(key, service.name)
      }
    }
    if (service.virtualAddress !== undefined && parseAddress(service.virtualAddress) === undefined)
      throw wrong(service, `has the virtual address "${service.virtualAddress}"`, 'It must be an IP address.')
  }
}

function checkPort(service: ServiceMembership, port: ServicePort): void {
  const published = parsePortRange(port.published)
  const target = parsePortRange(port.target)
  for (const [name, range] of [
    ['published', published],
    ['target', target],
  ] as const) {
    if (range !== undefined) continue
    throw wrong(
      service,
      `has the ${name} port ${JSON.stringify(port[name])}`,
      'A port is a number from 1 to 65535, a range two of them: "8000-8010".',
    )
  }
  if (published === undefined || target === undefined) return
  const [from, to] = [published.last - published.first, target.last - target.first]
  if (to !== 0 && from !== to)
    throw wrong(
      service,
      `publishes ${from + 1} ports (${port.published}) for ${to + 1} targets (${port.target})`,
      'A range leads to one target or to a range of the same size.',
    )
  for (const address of port.hostAddresses ?? []) {
    if (parseAddress(address) === undefined)
      throw wrong(service, `publishes ${formatPort(port)} on "${address}"`, 'hostAddresses are IP addresses.')
  }
}

function wrong(service: ServiceMembership, what: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidNetworkConfig, `service "${service.name}" ${what}`, remedy)
}
