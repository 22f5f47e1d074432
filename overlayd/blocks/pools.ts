/** Which subnets a pool has: what one network calls its pool is what another one means by that name. */

import { type Prefix, parsePrefix, prefixesOverlap } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { BlockRange } from '../../lib/overlay/agent-protocol.ts'
import type { Condition } from '../etcd/store.ts'
import { type BlockStore, blocksPrefix, type PoolRecord, poolKey, unchanged } from './records.ts'

/**
 * Notes the subnets of a pool. A pool grows by a subnet when a configuration has one more than is known; a configuration
 * that knows none of the pool's subnets means another pool, unless no node has a block of it any more.
 *
 * @param look compares only
 * @returns that this is still so; undefined when nothing is known and nothing was noted
 * @throws CniError 7 when the configuration does not fit the pool
 */
export async function registerPool(
  store: BlockStore,
  pool: string,
  ranges: readonly BlockRange[],
  look: boolean,
): Promise<Condition | undefined> {
  const wanted = Object.fromEntries(ranges.map(({ subnet, blockLength }) => [subnet, blockLength]))
  for (;;) {
    const entry = await store.get<PoolRecord>(poolKey(pool))
    const known = entry?.value.subnets ?? {}
    const isKnown = Object.entries(wanted).every(([subnet, length]) => known[subnet] === length)
    if (entry !== undefined && isKnown) return unchanged(entry)
    let subnets = { ...known, ...wanted }
    if (entry !== undefined) {
      const difference = differenceOf(known, wanted)
      if (difference !== undefined) {
        const { entries } = await store.list(blocksPrefix(pool), { keysOnly: true })
        if (entries.length > 0) throw mismatch(pool, known, difference)
        subnets = wanted
      }
    }
    if (look) return undefined
    const condition = entry === undefined ? { key: poolKey(pool), revision: 0 } : unchanged(entry)
    await store.transaction([condition], [{ put: poolKey(pool), value: { subnets } }])
  }
}

/** Why a configuration cannot mean the pool that is known; undefined when it can. */
function differenceOf(known: PoolRecord['subnets'], wanted: PoolRecord['subnets']): string | undefined {
  const shared = Object.keys(wanted).filter(subnet => known[subnet] !== undefined)
  for (const subnet of shared) {
    if (known[subnet] !== wanted[subnet])
      return `${subnet} in blocks of /${known[subnet]}, and the configuration says /${wanted[subnet]}`
  }
  if (shared.length === 0)
    return `${Object.keys(known).join(', ')}, and the configuration says ${Object.keys(wanted).join(', ')}`
  for (const subnet of Object.keys(wanted)) {
    const other = Object.keys(known).find(one => one !== subnet && overlap(one, subnet))
    if (other !== undefined) return `${other}, with which ${subnet} of the configuration overlaps`
  }
  return undefined
}

function overlap(a: string, b: string): boolean {
  const [one, other]: (Prefix | undefined)[] = [parsePrefix(a), parsePrefix(b)]
  return one !== undefined && other !== undefined && prefixesOverlap(one, other)
}

function mismatch(pool: string, known: PoolRecord['subnets'], difference: string): CniError {
  return new CniError(
    ErrorCode.invalidNetworkConfig,
    `pool "${pool}" has subnet ${difference}`,
    `give the network the pool's subnets (${Object.entries(known)
      .map(([subnet, length]) => `${subnet} in blocks of /${length}`)
      .join(', ')}), or another "ipam.pool"`,
  )
}
