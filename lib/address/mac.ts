/** Ethernet addresses. */

import { libc } from '#libc'
import { allocate } from '../sys/bytes.ts'

export type MacAddress = Uint8Array<ArrayBuffer>

/** Reads six bytes written as "0a:58:0a:01:00:05" or with dashes; undefined for anything else. */
export function parseMac(text: string): MacAddress | undefined {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text)) return undefined
  const mac = allocate(6)
  for (let index = 0; index < 6; index++) mac[index] = Number.parseInt(text.slice(index * 3, index * 3 + 2), 16)
  return mac
}

/** Lower case, with colons. */
export function formatMac(mac: Uint8Array): string {
  let text = ''
  for (const byte of mac) text += `${text === '' ? '' : ':'}${byte < 16 ? '0' : ''}${byte.toString(16)}`
  return text
}

/** Whether an interface may have it: not a group address and not all zeros. */
export function isUsableMac(mac: MacAddress): boolean {
  return ((mac[0] ?? 0) & 1) === 0 && mac.some(byte => byte !== 0)
}

/** A random unicast address of the locally administered kind, for a link of ours. */
export function randomMac(): MacAddress {
  const mac = allocate(6)
  // Not the runtime's own generator: loading that costs an executable 0.8 ms.
  libc.getrandom(mac, mac.length, 0)
  return localUnicast(mac)
}

/** An address of the same kind made of a digest: always the same for the same text. @param hex 12 digits at least */
export function macFromHex(hex: string): MacAddress {
  const mac = allocate(6)
  for (let index = 0; index < 6; index++) mac[index] = Number.parseInt(hex.slice(index * 2, index * 2 + 2), 16)
  return localUnicast(mac)
}

/** Bits of the first byte, IEEE 802-2014, 8.2.2: not for a group, and administered locally. */
function localUnicast(mac: MacAddress): MacAddress {
  mac[0] = ((mac[0] ?? 0) & 0xfc) | 2
  return mac
}
