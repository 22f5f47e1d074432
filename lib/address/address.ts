/**
 * IP addresses, compact and cheap to load (the ip-address package costs an executable 3 ms; it is the oracle of the
 * property tests instead).
 */

import { allocate } from '../sys/bytes.ts'

export type Family = 4 | 6

/** An address as its bytes in network order: 4 of them or 16. */
export type IpAddress = Uint8Array<ArrayBuffer>

export function familyOf(address: IpAddress): Family {
  return address.length === 4 ? 4 : 6
}

/**
 * Reads "10.1.0.5" or "2001:db8::5"; undefined for anything else (leading zeros, zones and prefixes included).
 * An IPv4-mapped address ("::ffff:10.1.0.5") is the IPv4 address, as in Go's net package.
 */
export function parseAddress(text: string): IpAddress | undefined {
  if (!text.includes(':')) return parseIpv4(text)
  const address = parseIpv6(text)
  return address && unmapAddress(address)
}

/** The IPv4 address of an IPv4-mapped one; any other as it is. */
export function unmapAddress(address: IpAddress): IpAddress {
  return isIpv4Mapped(address) ? address.slice(12) : address
}

function parseIpv4(text: string): IpAddress | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const address = allocate(4)
  let index = 0
  for (const part of parts) {
    const byte = parseDecimal(part, 255)
    if (byte === undefined) return undefined
    address[index++] = byte
  }
  return address
}

/**
 * A decimal number without sign or leading zeros; undefined for anything else, or one above `limit`.
 * Compiling a regular expression would cost more than all of this.
 */
export function parseDecimal(text: string, limit: number): number | undefined {
  if (text === '' || (text.length > 1 && text.startsWith('0'))) return undefined
  let value = 0
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 48
    if (digit < 0 || digit > 9) return undefined
    value = value * 10 + digit
    if (value > limit) return undefined
  }
  return value
}

function parseIpv6(text: string): IpAddress | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0] ?? '', halves.length === 1)
  const tail = parseGroups(halves[1] ?? '', true)
  if (head === undefined || tail === undefined) return undefined
  const missing = 16 - head.length - tail.length
  // "::" stands for at least one group.
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined
  const address = allocate(16)
  address.set(head)
  address.set(tail, 16 - tail.length)
  return address
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [index, group] of groups.entries()) {
    if (mayEndInIpv4 && index === groups.length - 1 && group.includes('.')) {
      const ipv4 = parseIpv4(group)
      if (ipv4 === undefined) return undefined
      bytes.push(...ipv4)
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 255)
    }
  }
  return bytes
}

function isIpv4Mapped(address: IpAddress): boolean {
  return (
    address.length === 16 &&
    address.subarray(0, 10).every(byte => byte === 0) &&
    address[10] === 255 &&
    address[11] === 255
  )
}

/** Canonical text: dotted quad, or RFC 5952. */
export function formatAddress(address: IpAddress): string {
  if (address.length === 4) return address.join('.')
  const groups: number[] = []
  for (let index = 0; index < 16; index += 2) groups.push(((address[index] ?? 0) << 8) | (address[index + 1] ?? 0))
  // RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals.
  let [bestStart, bestLength] = [-1, 1]
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (groups[start + length] === 0) length++
    if (length > bestLength) [bestStart, bestLength] = [start, length]
  }
  const text = (part: number[]) => part.map(group => group.toString(16)).join(':')
  if (bestStart < 0) return text(groups)
  return `${text(groups.slice(0, bestStart))}::${text(groups.slice(bestStart + bestLength))}`
}

/** Negative, zero or positive, as for Array.sort; IPv4 comes before IPv6. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (a.length !== b.length) return a.length - b.length
  for (let index = 0; index < a.length; index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

export function equalAddresses(a: IpAddress, b: IpAddress): boolean {
  return compareAddresses(a, b) === 0
}

/** The address as a number, for arithmetic over distances. */
export function addressToBigInt(address: IpAddress): bigint {
  let value = 0n
  for (const byte of address) value = (value << 8n) | BigInt(byte)
  return value
}

/** The reverse of `addressToBigInt`; undefined when the number does not fit the family. */
export function addressFromBigInt(value: bigint, family: Family): IpAddress | undefined {
  const length = family === 4 ? 4 : 16
  if (value < 0n || value >> BigInt(length * 8) !== 0n) return undefined
  const address = allocate(length)
  let rest = value
  for (let index = length - 1; index >= 0; index--) {
    address[index] = Number(rest & 255n)
    rest >>= 8n
  }
  return address
}

/** The address after this one; undefined after the last of the family. */
export function nextAddress(address: IpAddress): IpAddress | undefined {
  const next = allocate(address.length)
  next.set(address)
  for (let index = next.length - 1; index >= 0; index--) {
    const byte = ((next[index] ?? 0) + 1) & 255
    next[index] = byte
    if (byte !== 0) return next
  }
  return undefined
}

/** 0.0.0.0 or "::" */
export function isUnspecified(address: IpAddress): boolean {
  return address.every(byte => byte === 0)
}

/** 224.0.0.0/4 or ff00::/8. */
export function isMulticast(address: IpAddress): boolean {
  return address.length === 4 ? ((address[0] ?? 0) & 0xf0) === 0xe0 : address[0] === 0xff
}
