/**
 * What this node has of each pool, found out anew from etcd: when the agent starts, and when it was cut off for so long that
 * others may have taken its blocks.
 */

import type { HeldBlock, HeldBlocks } from '../../ipam/cluster/state-files.ts'
import { formatPrefix, parsePrefix } from '../../lib/address/prefix.ts'
import type { Entry } from '../etcd/store.ts'
import type { Log } from '../log.ts'
import { NetworkFiles, networksIn, usedIn } from './network-files.ts'
import { lending, lent } from './pins.ts'
import {
  type Alone,
  addressOfPinKey,
  type BlockRecord,
  type BlockStore,
  blockOfKey,
  blocksPrefix,
  type PinRecord,
  pinsPrefix,
  unchanged,
} from './records.ts'

export interface RecoverOptions {
  readonly node: string
  readonly store: BlockStore
  readonly dataDirectory: string
  readonly log: Log
  readonly alone: Alone
}

/** Makes the files say what etcd says, and etcd what the files do not use any more. To be called when the lease is sure. */
export async function recover(options: RecoverOptions): Promise<void> {
  const { node, store, dataDirectory, alone } = options
  const { entries } = await store.list<BlockRecord>(blocksPrefix())
  const recorded = entries.filter(({ value }) => value.node === node)
  for (const network of new Set([...networksIn(dataDirectory), ...recorded.map(({ value }) => value.network)])) {
    const seen = recorded.filter(({ value }) => value.network === network)
    await alone(network, () => alone(lending(network), () => recoverNetwork(options, network, seen)))
  }
}

/** @param seen its blocks a moment ago, of whichever pool; nothing is taken for the network now */
async function recoverNetwork(
  { node, store, dataDirectory, log }: RecoverOptions,
  network: string,
  seen: readonly Entry<BlockRecord>[],
): Promise<void> {
  const files = new NetworkFiles(dataDirectory, network)
  const pool = files.read()?.pool
  const elsewhere = seen.filter(({ key }) => blockOfKey(key)?.pool !== pool)
  const current = pool === undefined ? [] : (await store.list<BlockRecord>(blocksPrefix(pool))).entries
  const own = current.filter(({ value }) => value.node === node && value.network === network)
  const pins = pool === undefined ? [] : (await store.list<PinRecord>(`${pinsPrefix}${pool}/`)).entries
  const used = files.used()
  // Without files nothing says what the addresses in use belong to: the next ADD finds its blocks again.
  if (pool === undefined && used.some(({ taken }) => taken)) return
  if (pool !== undefined) {
    files.change(held => {
      if (held === undefined) return undefined
      const blocks = stillHeld(held, pool, own, pins, block => usedIn(used, block).some(({ taken }) => taken))
      for (const { prefix } of held.blocks)
        if (!blocks.some(block => block.prefix === prefix))
          log.error('a block was lost while this node could not reach etcd: another node may hand out its addresses', {
            network,
            pool,
            block: prefix,
            inUse: usedIn(used, prefix)
              .filter(({ taken }) => taken)
              .map(({ text }) => text),
          })
      return { ...held, node, blocks, borrowed: borrowedBy(node, network, pins) }
    })
  }
  const kept = files.read()?.blocks ?? []
  for (const entry of [...own, ...elsewhere]) {
    const named = blockOfKey(entry.key)
    if (named === undefined) continue
    if (named.pool === pool && kept.some(({ prefix }) => prefix === formatPrefix(named.block))) continue
    // Taken and not noted before a crash, or given back and not told, or the network's directory was removed.
    const { succeeded } = await store.transaction([unchanged(entry)], [{ delete: entry.key }])
    if (succeeded) log.info('gave back a block that is not used', { network, key: entry.key })
  }
}

/** Blocks that the node and etcd know, and those that etcd knows and in which addresses are in use. */
function stillHeld(
  held: HeldBlocks,
  pool: string,
  own: readonly Entry<BlockRecord>[],
  pins: readonly Entry<PinRecord>[],
  isUsed: (prefix: string) => boolean,
): HeldBlock[] {
  const inEtcd = own.flatMap(({ key }) => {
    const named = blockOfKey(key)
    return named === undefined ? [] : [formatPrefix(named.block)]
  })
  const kept = held.blocks.map(({ prefix }) => prefix).filter(prefix => inEtcd.includes(prefix))
  const found = inEtcd.filter(prefix => !kept.includes(prefix) && isUsed(prefix))
  return [...kept, ...found].map(prefix => {
    const block = parsePrefix(prefix)
    return { prefix, lent: block === undefined ? [] : lent(pins, pool, block) }
  })
}

function borrowedBy(node: string, network: string, pins: readonly Entry<PinRecord>[]): string[] {
  return pins
    .filter(({ value }) => value.node === node && value.network === network && value.state === 'granted')
    .map(({ key }) => addressOfPinKey(key).address)
}
