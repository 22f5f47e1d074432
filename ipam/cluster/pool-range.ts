/** Ranges of a pool and the blocks into which their subnets are divided. */

import type { IpAddress } from '../../lib/address/address.ts'
import { compareAddresses, equalAddresses, nextAddress, parseAddress } from '../../lib/address/address.ts'
import type { Prefix } from '../../lib/address/prefix.ts'
import { lastAddress, networkAddress, parsePrefix, prefixContains } from '../../lib/address/prefix.ts'
import type { Range } from '../allocator/range.ts'
import { rangeContains } from '../allocator/range.ts'
import type { HeldBlock } from './state-files.ts'

/** A range whose subnet is handed out to nodes in blocks. */
export interface PoolRange extends Range {
  /** Prefix length of its blocks. */
  readonly blockLength: number
}

/**
 * 26 (64 addresses) for IPv4 and 112 (65,536) for IPv6, and shorter blocks for a small subnet, so that it has at least
 * eight where it can: each serves one node.
 */
export function defaultBlockLength(subnet: Prefix): number {
  const [usual, longest] = subnet.address.length === 4 ? [26, 30] : [112, 126]
  return Math.min(Math.max(usual, subnet.length + 3), longest)
}

/** The block that an address lies in. */
export function blockOf(range: PoolRange, address: IpAddress): Prefix {
  const length = range.blockLength
  return { address: networkAddress({ address, length }), length }
}

/** The part of a range that lies in a block; undefined when there is no address in it to hand out. */
export function rangeInBlock(range: Range, block: Prefix): Range | undefined {
  if (!prefixContains(range.subnet, block.address) || block.length < range.subnet.length) return undefined
  const [first, last] = [block.address, lastAddress(block)]
  const start = compareAddresses(first, range.start) < 0 ? range.start : first
  const end = compareAddresses(last, range.end) > 0 ? range.end : last
  const order = compareAddresses(start, end)
  if (order > 0 || (order === 0 && equalAddresses(start, range.gateway))) return undefined
  return { subnet: range.subnet, start, end, gateway: range.gateway }
}

/**
 * What a node may hand out of a range set, from the blocks that it holds and without what it has lent out of them.
 * @param borrowed addresses out of other nodes' blocks that it may hand out as well
 */
export function heldRanges(
  set: readonly PoolRange[],
  blocks: readonly HeldBlock[],
  borrowed: readonly IpAddress[] = [],
): Range[] {
  const ranges: Range[] = []
  for (const { prefix, lent } of blocks) {
    const block = parsePrefix(prefix)
    if (block === undefined) continue
    for (const range of set) {
      const part = range.blockLength === block.length ? rangeInBlock(range, block) : undefined
      if (part !== undefined) ranges.push(...without(part, lent))
    }
  }
  for (const address of borrowed) {
    const range = set.find(candidate => rangeContains(candidate, address))
    if (range !== undefined) ranges.push({ ...range, start: address, end: address })
  }
  return ranges
}

/** A range around some of its addresses. */
function without(range: Range, texts: readonly string[]): Range[] {
  let parts = [range]
  for (const text of texts) {
    const address = parseAddress(text)
    if (address === undefined) continue
    const left: Range[] = []
    for (const part of parts) {
      if (!rangeContains(part, address)) {
        left.push(part)
        continue
      }
      const before = previousAddress(address)
      const after = nextAddress(address)
      if (before !== undefined && compareAddresses(part.start, before) <= 0) left.push({ ...part, end: before })
      if (after !== undefined && compareAddresses(after, part.end) <= 0) left.push({ ...part, start: after })
    }
    parts = left
  }
  return parts
}

function previousAddress(address: IpAddress): IpAddress | undefined {
  const previous = address.slice()
  for (let index = previous.length - 1; index >= 0; index--) {
    const byte = previous[index] ?? 0
    previous[index] = (byte - 1) & 255
    if (byte !== 0) return previous
  }
  return undefined
}
