/** Elements of the maps: keys and values as the kernel compares them. */

import { formatAddress, type IpAddress } from '../../address/address.ts'
import type { SetElement } from '../../netlink/netfilter/element.ts'
import { allocate } from '../../sys/bytes.ts'
import type { PublishedPort, Target } from './published-port.ts'
import { type Affinity, fillSlots, slotsFor } from './slots.ts'

/** One field of a concatenation: an address, or the bytes of a number. */
export type FieldBytes = readonly number[] | Uint8Array

/** Fields of a concatenation, each padded to 4 bytes. */
export function concatenated(...fields: readonly FieldBytes[]): Uint8Array {
  let length = 0
  for (const field of fields) length += (field.length + 3) & -4
  const bytes = allocate(length)
  let offset = 0
  for (const field of fields) {
    bytes.set(field, offset)
    offset += (field.length + 3) & -4
  }
  return bytes
}

/** A port in network order. */
export const portBytes = (port: number): readonly number[] => [port >> 8, port & 255]
/** A slot's number, which expressions leave in the host's byte order (little-endian: all that cnikit runs on). */
const slotBytes = (slot: number): readonly number[] => [slot & 255, slot >> 8, 0, 0]

/** A target as the value of a map. */
export const targetBytes = ({ address, port }: Target): Uint8Array => concatenated(address, portBytes(port))

/**
 * One element for each slot of a service.
 * @param targets what slots lead to, by what names the replica in the contest for slots
 */
export function slotElements(
  service: { readonly name: string; readonly affinity: Affinity },
  key: readonly FieldBytes[],
  targets: ReadonlyMap<string, Uint8Array>,
): SetElement[] {
  // In a fixed order: all hosts fill the slots alike.
  const names = [...targets.keys()].sort()
  const { count, first } = slotsFor(service.affinity, names.length)
  const elements: SetElement[] = []
  for (const [slot, replica] of fillSlots(service.name, names, count).entries()) {
    const value = targets.get(names[replica] ?? '')
    if (value !== undefined) elements.push({ key: concatenated(...key, slotBytes(first + slot)), value })
  }
  return elements
}

/** One element for each slot of a published port, with its targets of that family. */
export function portElements(port: PublishedPort, addressBytes: 4 | 16): SetElement[] {
  const targets = new Map(
    port.targets
      .filter(({ address }) => address.length === addressBytes)
      .map(target => [formatAddress(target.address), targetBytes(target)]),
  )
  const key = [[port.protocol], portBytes(port.port)]
  return slotElements({ name: port.service, affinity: port.affinity }, key, targets)
}

/** A slot of a published port, and what it leads to. */
export interface Slot {
  /** IPPROTO_* */
  readonly protocol: number
  readonly port: number
  readonly target: Target
}

/** The opposite of `portElements`, for one element. */
export function readSlot({ key, value }: SetElement, addressBytes: 4 | 16): Slot | undefined {
  if (value === undefined || key.length < 12) return undefined
  return {
    protocol: key[0] ?? 0,
    port: readPort(key, 4),
    target: { address: Uint8Array.from(value.subarray(0, addressBytes)), port: readPort(value, addressBytes) },
  }
}

const readPort = (bytes: Uint8Array, offset: number): number => ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)

/** Addresses of one family. */
export function ofLength<T extends IpAddress>(addresses: readonly T[], bytes: 4 | 16): T[] {
  return addresses.filter(address => address.length === bytes)
}
