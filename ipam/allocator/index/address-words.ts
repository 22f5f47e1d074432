/** Addresses as four 32-bit words, which is how slots hold them. An IPv4 address takes the first. */

import type { IpAddress } from '../../../lib/address/address.ts'
import { allocate } from '../../../lib/sys/bytes.ts'

export type AddressWords = readonly [number, number, number, number]

/** @param length how many bytes count; the others are taken for zeros */
export function addressWords(address: IpAddress, length: number): AddressWords {
  return [
    wordAt(address, 0, length),
    wordAt(address, 4, length),
    wordAt(address, 8, length),
    wordAt(address, 12, length),
  ]
}

function wordAt(address: IpAddress, start: number, length: number): number {
  let word = 0
  for (let index = start; index < start + 4; index++) word = (word << 8) | (index < length ? (address[index] ?? 0) : 0)
  return word >>> 0
}

/** @param length 4 or 16 bytes */
export function addressOfWords(words: AddressWords, length: number): IpAddress {
  const address = allocate(length)
  for (let index = 0; index < length; index++) address[index] = (words[index >> 2] ?? 0) >>> (24 - (index & 3) * 8)
  return address
}
