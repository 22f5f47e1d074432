/** Kinds of values that the objects of NETLINK_ROUTE have in common. */

import type { IpAddress } from '../../address/address.ts'
import type { MacAddress } from '../../address/mac.ts'
import type { Codec } from '../codec.ts'

/** Address bytes in network order; the length tells the family. */
export const ipAddress: Codec<IpAddress> = {
  encode: (writer, value) => writer.bytes(value),
  decode: reader => reader.bytes(reader.remaining),
}

/** A hardware address: six bytes for Ethernet; other kinds of links have other lengths. */
export const mac: Codec<MacAddress> = ipAddress

/** One byte, 0 or 1. */
export const boolean8: Codec<boolean> = {
  encode: (writer, value) => writer.u8(value ? 1 : 0),
  decode: reader => reader.u8() !== 0,
}

/** The values of a codec by name; numbers without a name stay numbers, so that nothing of a newer kernel is lost. */
export function named<const N extends Readonly<Record<string, number>>>(
  number: Codec<number>,
  names: N,
): Codec<keyof N | number> {
  return {
    encode: (writer, value, siblings) => number.encode(writer, numberOf(names, value), siblings),
    decode: (reader, siblings) => nameOf(names, number.decode(reader, siblings)),
  }
}

/** @throws RangeError for a name that is not in the table */
export function numberOf<N extends Readonly<Record<string, number>>>(names: N, value: keyof N | number): number {
  if (typeof value === 'number') return value
  const number = names[value]
  if (number === undefined) throw new RangeError(`"${String(value)}" is none of ${Object.keys(names).join(', ')}`)
  return number
}

/** The name of a number, or the number where it has none. */
export function nameOf<N extends Readonly<Record<string, number>>>(names: N, value: number): keyof N | number {
  for (const name in names) if (names[name] === value) return name
  return value
}
