/** Which block a node takes, and what is said when there is none. */

import { blockOf, type PoolRange, rangeInBlock } from '../../ipam/cluster/pool-range.ts'
import { addressFromBigInt, addressToBigInt, familyOf, formatAddress, parseAddress } from '../../lib/address/address.ts'
import { formatPrefix, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { BlockRange } from '../../lib/overlay/agent-protocol.ts'

/** Nodes that look for a block at the same moment choose among so many, so that they seldom choose the same. */
const CHOICE = 8

/** @throws CniError 7 for what the plugin cannot have sent */
export function readRange(text: BlockRange): PoolRange {
  const [subnet, start, end] = [parsePrefix(text.subnet), parseAddress(text.start), parseAddress(text.end)]
  const gateway = parseAddress(text.gateway)
  if (subnet === undefined || start === undefined || end === undefined || gateway === undefined)
    throw new CniError(ErrorCode.invalidNetworkConfig, `not a range of addresses: ${JSON.stringify(text)}`)
  return { subnet, start, end, gateway, blockLength: text.blockLength }
}

/** The blocks of a range in which there is an address to hand out, in their order. */
export function* blocksOf(range: PoolRange): Generator<Prefix> {
  const family = familyOf(range.start)
  const size = 1n << BigInt((family === 4 ? 32 : 128) - range.blockLength)
  const last = addressToBigInt(range.end)
  for (let next = addressToBigInt(blockOf(range, range.start).address); next <= last; next += size) {
    const address = addressFromBigInt(next, family)
    const block = address && { address, length: range.blockLength }
    if (block !== undefined && rangeInBlock(range, block) !== undefined) yield block
  }
}

/** How many blocks a range has, those included that hold nothing but the gateway. */
export function blockCount(range: PoolRange): bigint {
  const shift = BigInt((familyOf(range.start) === 4 ? 32 : 128) - range.blockLength)
  return (addressToBigInt(range.end) >> shift) - (addressToBigInt(range.start) >> shift) + 1n
}

/** A block of the set that nobody has; undefined when all are taken. */
export function freeBlock(set: readonly PoolRange[], taken: ReadonlySet<string>): Prefix | undefined {
  const free: Prefix[] = []
  for (const range of set) {
    for (const block of blocksOf(range)) {
      if (taken.has(formatPrefix(block))) continue
      free.push(block)
      if (free.length === CHOICE) break
    }
    if (free.length === CHOICE) break
  }
  return free[Math.floor(Math.random() * free.length)]
}

/** Says who has the blocks of a pool. @param owners of its blocks */
export function exhausted(pool: string, set: readonly PoolRange[], owners: readonly string[]): CniError {
  const count = set.reduce((sum, range) => sum + blockCount(range), 0n)
  const subnets = set.map(({ subnet }) => formatPrefix(subnet)).join(', ')
  const held = new Map<string, number>()
  for (const owner of owners) held.set(owner, (held.get(owner) ?? 0) + 1)
  const list = [...held]
    .toSorted(([a, more], [b, less]) => less - more || a.localeCompare(b))
    .map(([node, blocks]) => `${node} ${blocks}`)
  return new CniError(
    ErrorCode.poolExhausted,
    `pool "${pool}" is exhausted: its ${count} blocks of ${subnets} (/${set[0]?.blockLength ?? 0} each) are all taken`,
    `blocks by node: ${list.join(', ')}. Delete attachments, remove nodes that are gone, or give the pool one more range`,
  )
}

/** The range of a set in which an address lies. */
export function rangeWith(set: readonly PoolRange[], address: string): PoolRange {
  const wanted = parseAddress(address)
  const range = set.find(
    candidate => wanted !== undefined && rangeInBlock(candidate, { address: wanted, length: wanted.length * 8 }),
  )
  if (wanted !== undefined && range !== undefined) return range
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `${JSON.stringify(address)} is no address of ${set.map(({ start, end }) => `${formatAddress(start)}-${formatAddress(end)}`).join(', ')}`,
  )
}
