/** Random addresses and prefixes, more often at the edges than chance would have it. */

import fc from 'fast-check'
import type { IpAddress } from '../../../lib/address/address.ts'
import type { Prefix } from '../../../lib/address/prefix.ts'
import { allocate } from '../../../lib/sys/bytes.ts'

const byte = fc.oneof(fc.constantFrom(0, 1, 127, 128, 254, 255), fc.integer({ min: 0, max: 255 }))

/** Runs of zeros and ones are what writing and counting stumble over. */
const ipv6Byte = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: byte })

function bytes(values: readonly number[]): IpAddress {
  const address = allocate(values.length)
  address.set(values)
  return address
}

export const ipv4: fc.Arbitrary<IpAddress> = fc.array(byte, { minLength: 4, maxLength: 4 }).map(bytes)

/** IPv4-mapped addresses left out: they are read as IPv4. */
export const ipv6: fc.Arbitrary<IpAddress> = fc
  .array(fc.oneof(ipv6Byte, byte), { minLength: 16, maxLength: 16 })
  .filter(values => values.slice(0, 10).some(value => value !== 0) || values[10] !== 255 || values[11] !== 255)
  .map(bytes)

export const anyAddress: fc.Arbitrary<IpAddress> = fc.oneof(ipv4, ipv6)

export const anyPrefix: fc.Arbitrary<Prefix> = anyAddress.chain(address =>
  fc.integer({ min: 0, max: address.length * 8 }).map(length => ({ address, length })),
)
