/** Prefixes: an address with the length of its network part. */

import { allocate } from '../sys/bytes.ts'
import type { IpAddress } from './address.ts'
import { compareAddresses, equalAddresses, formatAddress, parseAddress, parseDecimal } from './address.ts'

export interface Prefix {
  /** May have host bits set: "10.1.0.5/16" is an address in its network. */
  readonly address: IpAddress
  /** 0 to 32, or 0 to 128. */
  readonly length: number
}

/** Reads "10.1.0.5/16"; undefined for anything else. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/')
  const address = slash < 0 ? undefined : parseAddress(text.slice(0, slash))
  const given = parseDecimal(text.slice(slash + 1), 128)
  if (address === undefined || given === undefined) return undefined
  // The length of an IPv4-mapped prefix counts the 96 bits before the IPv4 part.
  const length = given - (address.length === 4 && text.includes(':') ? 96 : 0)
  return length < 0 || length > address.length * 8 ? undefined : { address, length }
}

/** For lists of what parsePrefix returns. */
export function isPrefix(value: Prefix | undefined): value is Prefix {
  return value !== undefined
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.address)}/${prefix.length}`
}

/** Sets the host bits of the address to zeros, or to ones. */
function fillHostBits(prefix: Prefix, ones: boolean): IpAddress {
  const address = allocate(prefix.address.length)
  for (let index = 0; index < address.length; index++) {
    const byte = prefix.address[index] ?? 0
    const networkBits = prefix.length - index * 8
    const hostMask = networkBits <= 0 ? 0xff : networkBits >= 8 ? 0 : 0xff >> networkBits
    address[index] = ones ? byte | hostMask : byte & ~hostMask
  }
  return address
}

/** The first address: the network's own. */
export function networkAddress(prefix: Prefix): IpAddress {
  return fillHostBits(prefix, false)
}

/** The last address: in IPv4 the broadcast address. */
export function lastAddress(prefix: Prefix): IpAddress {
  return fillHostBits(prefix, true)
}

/** The prefix with its host bits cleared: 10.1.0.5/16 gives 10.1.0.0/16. */
export function networkOf(prefix: Prefix): Prefix {
  return { address: networkAddress(prefix), length: prefix.length }
}

/** Whether the address lies in the prefix; false for another family. */
export function prefixContains(prefix: Prefix, address: IpAddress): boolean {
  return (
    address.length === prefix.address.length &&
    equalAddresses(networkAddress({ address, length: prefix.length }), networkAddress(prefix))
  )
}

/** Whether the two are equal, host bits included. */
export function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.length === b.length && equalAddresses(a.address, b.address)
}

/** Whether the two have an address in common. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return prefixContains(a, b.address) || prefixContains(b, a.address)
}

/** The netmask of a prefix: 255.255.0.0 for 10.1.0.5/16. */
export function netmask(prefix: Prefix): IpAddress {
  return fillHostBits({ address: allocate(prefix.address.length).fill(255), length: prefix.length }, false)
}

/** Orders prefixes by network, the shorter first. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  return compareAddresses(networkAddress(a), networkAddress(b)) || a.length - b.length
}
