/** Mappings as elements of the maps: keys and values as the kernel compares them. */

import { type IpAddress, isUnspecified } from '../../address/address.ts'
import type { SetElement } from '../../netlink/netfilter/element.ts'
import type { IpFamilyName } from '../../netlink/netfilter/expressions.ts'
import type { Transport } from '../../netlink/sock-diag/index.ts'
import { allocate } from '../../sys/bytes.ts'
import type { PortMapping } from '../port-forwarding-intent.ts'
import { type PortMap, portMap } from './port-forwarding-objects.ts'

/** From so many ports on, mappings to the same ports become one range: adding to the ranges copies them all. */
const RANGE_PORTS = 8

/** Ports of the host, of one family, that an element is about. */
export interface PortClaim {
  readonly family: IpFamilyName
  readonly transport: Transport
  /** Undefined for all of the family. */
  readonly hostAddress: IpAddress | undefined
  readonly first: number
  /** The same as `first` but for a range. */
  readonly last: number
  /** Of a range it is `first`. */
  readonly containerPort: number
}

const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const satisfies Readonly<Record<Transport, number>>
const transports: Readonly<Record<number, Transport>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' }

/** What mappings claim of each of the families that the container has. */
export function claimsOf(mappings: readonly PortMapping[], families: readonly IpFamilyName[]): PortClaim[] {
  const singles: PortClaim[] = []
  for (const { transport, hostPort, containerPort, hostAddress } of mappings) {
    for (const family of families) {
      if (hostAddress !== undefined && (hostAddress.length === 4) !== (family === 'ip')) continue
      const specific = hostAddress === undefined || isUnspecified(hostAddress) ? undefined : hostAddress
      singles.push({ family, transport, hostAddress: specific, first: hostPort, last: hostPort, containerPort })
    }
  }
  return withRanges(singles)
}

/** Puts neighbouring ports that lead to the same ports together. */
function withRanges(singles: readonly PortClaim[]): PortClaim[] {
  if (singles.length < RANGE_PORTS) return [...singles]
  const kind = ({ family, transport, hostAddress }: PortClaim) =>
    `${family} ${transport} ${hostAddress?.join('.') ?? ''}`
  const sorted = singles.map(claim => ({ claim, kind: kind(claim) }))
  sorted.sort((a, b) => (a.kind === b.kind ? a.claim.first - b.claim.first : a.kind < b.kind ? -1 : 1))
  const claims: PortClaim[] = []
  for (let start = 0; start < sorted.length; ) {
    let end = start + 1
    while (end < sorted.length && continues(sorted[end - 1], sorted[end])) end++
    const [first, last] = [sorted[start]?.claim, sorted[end - 1]?.claim]
    if (first !== undefined && last !== undefined && end - start >= RANGE_PORTS) {
      claims.push({ ...first, last: last.first })
    } else {
      for (const { claim } of sorted.slice(start, end)) claims.push(claim)
    }
    start = end
  }
  return claims
}

interface Sorted {
  readonly claim: PortClaim
  readonly kind: string
}

function continues(before: Sorted | undefined, after: Sorted | undefined): boolean {
  if (before === undefined || after === undefined || before.kind !== after.kind) return false
  const same = ({ claim }: Sorted) => claim.first === claim.containerPort
  return same(before) && same(after) && before.claim.first + 1 === after.claim.first
}

/** The map that a claim's element is in. */
export function mapOf({ family, hostAddress, first, last }: PortClaim): PortMap {
  return portMap(family, hostAddress !== undefined, first !== last)
}

/** `tcp . 8080`, or with an address of the host in front. */
export function portKey(transport: Transport, port: number, hostAddress?: IpAddress): Uint8Array {
  const offset = hostAddress?.length ?? 0
  const key = allocate(offset + 8)
  if (hostAddress !== undefined) key.set(hostAddress)
  key[offset] = protocolNumbers[transport]
  key[offset + 4] = port >> 8
  key[offset + 5] = port & 255
  return key
}

/** The element that leads a claim's ports to the container. */
export function claimElement(claim: PortClaim, container: IpAddress, comment: string): SetElement {
  const { transport, hostAddress, first, last, containerPort } = claim
  const key = portKey(transport, first, hostAddress)
  if (first !== last) return { key, keyEnd: portKey(transport, last, hostAddress), value: container, comment }
  const value = allocate(container.length + 4)
  value.set(container)
  value[container.length] = containerPort >> 8
  value[container.length + 1] = containerPort & 255
  return { key, value, comment }
}

/** The ports that an element of a map is about, and where it leads to. */
export interface Forwarded extends PortClaim {
  readonly container: IpAddress
}

/** The opposite of `claimElement`; undefined for what nobody of cnikit's makes. */
export function readElement(map: PortMap, { key, keyEnd, value }: SetElement): Forwarded | undefined {
  const addressBytes = map.of === 'ip' ? 4 : 16
  const offset = map.byAddress ? addressBytes : 0
  const transport = transports[key[offset] ?? 0]
  if (transport === undefined || value === undefined) return undefined
  const first = portAt(key, offset + 4)
  return {
    family: map.of,
    transport,
    hostAddress: map.byAddress ? Uint8Array.from(key.subarray(0, addressBytes)) : undefined,
    first,
    last: keyEnd === undefined ? first : portAt(keyEnd, offset + 4),
    containerPort: map.ranges ? first : portAt(value, addressBytes),
    container: Uint8Array.from(value.subarray(0, addressBytes)),
  }
}

const portAt = (bytes: Uint8Array, offset: number): number => ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
