/** Hardware addresses of any kind of link: Ethernet's have 6 bytes, InfiniBand's 20. */

import type { MacAddress } from '../../lib/address/mac.ts'
import { allocate } from '../../lib/sys/bytes.ts'

const lengths: readonly number[] = [6, 8, 20]

/** Reads "52:54:00:12:34:56", with dashes or in groups as "5254.0012.3456"; undefined for anything else. */
export function parseHardwareAddress(text: string): MacAddress | undefined {
  if (!/^([0-9a-fA-F]{2}([:-](?!$)|$))+$|^([0-9a-fA-F]{4}(\.(?!$)|$))+$/.test(text)) return undefined
  const digits = text.replace(/[:.-]/g, '')
  if (!lengths.includes(digits.length / 2)) return undefined
  const address = allocate(digits.length / 2)
  for (let index = 0; index < address.length; index++)
    address[index] = Number.parseInt(digits.slice(index * 2, index * 2 + 2), 16)
  return address
}

export function sameHardwareAddress(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((byte, index) => byte === b[index])
}
