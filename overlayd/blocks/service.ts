/** Blocks of address pools for this node: taken when a plugin asks or soon will, given back when they are empty. */

import { blockOf, type PoolRange, rangeInBlock } from '../../ipam/cluster/pool-range.ts'
import type { HeldBlocks } from '../../ipam/cluster/state-files.ts'
import { parseAddress } from '../../lib/address/address.ts'
import { formatPrefix, type Prefix, parsePrefix, prefixContains, prefixesOverlap } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { BlockAnswer, BlockRequest } from '../../lib/overlay/agent-protocol.ts'
import type { Condition, Entry } from '../etcd/store.ts'
import type { Log } from '../log.ts'
import { exhausted, freeBlock, rangeWith, readRange } from './choose.ts'
import type { BlockLeaseKeeper } from './lease.ts'
import { NetworkFiles } from './network-files.ts'
import type { Pins } from './pins.ts'
import { registerPool } from './pools.ts'
import { reclaimBlock } from './reclaim.ts'
import {
  type BlockRecord,
  type BlockStore,
  blockKey,
  blockLeaseKey,
  blockLeasesPrefix,
  blockOfKey,
  blocksPrefix,
} from './records.ts'

export interface BlockServiceOptions {
  readonly node: string
  readonly store: BlockStore
  readonly dataDirectory: string
  readonly log: Log
}

/** How often taking a block is begun anew because another node was faster. */
const ATTEMPTS = 20

export class BlockService {
  readonly #options: BlockServiceOptions
  readonly #lease: BlockLeaseKeeper
  readonly #pins: Pins
  /** What is being done for a network; the next thing waits for it. */
  readonly #busy = new Map<string, Promise<unknown>>()

  constructor(options: BlockServiceOptions, lease: BlockLeaseKeeper, pins: Pins) {
    this.#options = options
    this.#lease = lease
    this.#pins = pins
  }

  /** The verb `block`. */
  async block(request: BlockRequest): Promise<BlockAnswer> {
    const { dataDirectory } = this.#options
    if (request.dataDirectory !== dataDirectory)
      throw new CniError(
        ErrorCode.invalidNetworkConfig,
        `"ipam.dataDir" is "${request.dataDirectory}", but overlayd keeps the blocks in "${dataDirectory}"`,
        'leave "ipam.dataDir" out, or set "ipam.directory" of overlayd to the same',
      )
    if (!this.#lease.isSeen) await this.#lease.renew()
    return this.alone(request.network, () => this.#answer(request))
  }

  /** Runs one thing at a time for each network. */
  async alone<T>(network: string, run: () => Promise<T>): Promise<T> {
    const before = this.#busy.get(network) ?? Promise.resolve()
    const mine = before.then(run, run)
    this.#busy.set(network, mine)
    try {
      return await mine
    } finally {
      if (this.#busy.get(network) === mine) this.#busy.delete(network)
    }
  }

  /** One more block for a range set of a network that holds some; to be called alone. */
  async takeAnother(network: string, held: HeldBlocks, rangeSet: number): Promise<void> {
    const { pool, rangeSets, coolDownSeconds, blocks } = held
    await this.#answer({
      network,
      pool,
      rangeSets,
      rangeSet,
      coolDownSeconds,
      dataDirectory: this.#options.dataDirectory,
      containerId: '',
      ifname: '',
      full: blocks.map(({ prefix }) => prefix),
    })
  }

  async #answer(request: BlockRequest): Promise<BlockAnswer> {
    const files = new NetworkFiles(this.#options.dataDirectory, request.network)
    const held = files.read()
    if (held !== undefined && held.pool !== request.pool && held.blocks.length + held.borrowed.length > 0)
      throw new CniError(
        ErrorCode.conflict,
        `network "${request.network}" has blocks of pool "${held.pool}" on this node, but its configuration names pool "${request.pool}"`,
        'delete its attachments and wait until the blocks are given back, or name the former pool',
      )
    const set = (request.rangeSets[request.rangeSet] ?? []).map(readRange)
    const known = heldAlready(request, set, held)
    if (known !== undefined) return { held: known }
    if (request.wanted !== undefined) return { held: await this.#haveAddress(request, set, request.wanted) }
    const block = await this.#takeAny(request, set)
    return { held: formatPrefix(block) }
  }

  /** Some block of the set. */
  async #takeAny(request: BlockRequest, set: readonly PoolRange[]): Promise<Prefix> {
    const { pool } = request
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const registered = await this.#register(request)
      const { entries } = await this.#options.store.list<BlockRecord>(blocksPrefix(pool))
      const taken = new Map<string, Entry<BlockRecord>>()
      for (const entry of entries) {
        const named = blockOfKey(entry.key)
        if (named !== undefined) taken.set(formatPrefix(named.block), entry)
      }
      const orphan = this.#orphan(request, set, taken)
      const block = orphan ?? freeBlock(set, new Set(taken.keys()))
      if (block !== undefined) {
        if (!request.look && orphan === undefined && !(await this.#takeFree(request, block, registered))) continue
        await this.#hold(request, block)
        return block
      }
      const reclaimed = await this.#takeFromDead(request, ofSet(set, taken))
      if (reclaimed !== undefined) return reclaimed
      throw exhausted(
        pool,
        set,
        ofSet(set, taken).map(({ value }) => value.node),
      )
    }
    throw busy(pool)
  }

  /** One that is this network's already, though it does not know: from before a crash, or from files that were lost. */
  #orphan(request: BlockRequest, set: readonly PoolRange[], taken: ReadonlyMap<string, Entry<BlockRecord>>) {
    const held = new NetworkFiles(this.#options.dataDirectory, request.network).read()?.blocks ?? []
    for (const [prefix, { value }] of taken) {
      const block = parsePrefix(prefix)
      if (value.node !== this.#options.node || value.network !== request.network || block === undefined) continue
      if (isOfSet(set, block) && !held.some(one => one.prefix === prefix)) return block
    }
    return undefined
  }

  /** A block in which there is an address, or the address alone when another node has the block. */
  async #haveAddress(request: BlockRequest, set: readonly PoolRange[], wanted: string): Promise<string> {
    const { store, node } = this.#options
    const range = rangeWith(set, wanted)
    const address = parseAddress(wanted)
    if (address === undefined) throw new TypeError(wanted)
    const block = blockOf(range, address)
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const registered = await this.#register(request)
      const entry = await store.get<BlockRecord>(blockKey(request.pool, block))
      if (entry === undefined) {
        if (!request.look && !(await this.#takeFree(request, block, registered))) continue
      } else if (entry.value.node !== node || entry.value.network !== request.network) {
        const reclaimed = await this.#takeFromDead(request, [entry])
        if (reclaimed !== undefined) return formatPrefix(reclaimed)
        if (await this.#pins.borrow(request, wanted, entry)) return wanted
        continue
      }
      await this.#hold(request, block)
      return formatPrefix(block)
    }
    throw busy(request.pool)
  }

  #register({ pool, rangeSets, look }: BlockRequest): Promise<Condition | undefined> {
    return registerPool(this.#options.store, pool, rangeSets.flat(), look === true)
  }

  /** @param registered that the pool is still the one for which the block was chosen */
  async #takeFree(request: BlockRequest, block: Prefix, registered: Condition | undefined): Promise<boolean> {
    const { node, store, log } = this.#options
    const key = blockKey(request.pool, block)
    const record: BlockRecord = { node, network: request.network, inUse: 0 }
    const { succeeded } = await store.transaction(
      [
        { key, revision: 0 },
        { key: blockLeaseKey(node), exists: true },
        ...(registered === undefined ? [] : [registered]),
      ],
      [{ put: key, value: record }],
    )
    if (succeeded)
      log.info('took a block', { pool: request.pool, network: request.network, block: formatPrefix(block) })
    else if (!(await store.get(blockLeaseKey(node)))) await this.#lease.renew()
    return succeeded
  }

  /** The first that can be had of nodes that are dead: those of which they used nothing before the others. */
  async #takeFromDead(request: BlockRequest, entries: readonly Entry<BlockRecord>[]): Promise<Prefix | undefined> {
    const { store, node, log } = this.#options
    const { entries: living } = await store.list(blockLeasesPrefix, { keysOnly: true })
    const alive = new Set(living.map(({ key }) => key))
    const dead = entries.filter(({ value }) => !alive.has(blockLeaseKey(value.node)))
    for (const entry of dead.toSorted((a, b) => Math.sign(a.value.inUse) - Math.sign(b.value.inUse))) {
      const named = blockOfKey(entry.key)
      if (named === undefined) continue
      const record: BlockRecord = { node, network: request.network, inUse: 0 }
      if (!request.look) {
        if (!(await reclaimBlock(store, node, entry, named.block, record))) continue
        log.warn('took the block of a dead node', {
          pool: request.pool,
          network: request.network,
          block: formatPrefix(named.block),
          from: entry.value.node,
          inUse: entry.value.inUse,
        })
      }
      await this.#hold(request, named.block)
      return named.block
    }
    return undefined
  }

  /** Tells the plugin of a block. */
  async #hold(request: BlockRequest, block: Prefix): Promise<void> {
    const { pool, rangeSets, coolDownSeconds } = request
    const { node, dataDirectory } = this.#options
    if (request.look) return
    const lent = await this.#pins.lentIn(request.pool, block)
    new NetworkFiles(dataDirectory, request.network).change(held => {
      const others = (held?.blocks ?? []).filter(({ prefix }) => prefix !== formatPrefix(block))
      return {
        version: 1,
        pool,
        node,
        blocks: [...others, { prefix: formatPrefix(block), lent }],
        borrowed: held?.borrowed ?? [],
        rangeSets,
        coolDownSeconds,
      }
    })
  }
}

/** What the plugin would find if it looked again: a block that it does not call full, or with the address that it wants. */
function heldAlready(
  request: BlockRequest,
  set: readonly PoolRange[],
  held: HeldBlocks | undefined,
): string | undefined {
  const { wanted, full } = request
  const address = wanted === undefined ? undefined : parseAddress(wanted)
  if (wanted !== undefined && held?.borrowed.includes(wanted)) return wanted
  return held?.blocks.find(({ prefix, lent }) => {
    const block = parsePrefix(prefix)
    if (block === undefined || !isOfSet(set, block)) return false
    if (address === undefined || wanted === undefined) return !full.includes(prefix)
    return prefixContains(block, address) && !lent.includes(wanted)
  })?.prefix
}

function isOfSet(set: readonly PoolRange[], block: Prefix): boolean {
  return set.some(range => range.blockLength === block.length && rangeInBlock(range, block) !== undefined)
}

function ofSet(set: readonly PoolRange[], taken: ReadonlyMap<string, Entry<BlockRecord>>): Entry<BlockRecord>[] {
  return [...taken].flatMap(([prefix, entry]) => {
    const block = parsePrefix(prefix)
    return block !== undefined && set.some(({ subnet }) => prefixesOverlap(subnet, block)) ? [entry] : []
  })
}

function busy(pool: string): CniError {
  return new CniError(
    ErrorCode.tryAgainLater,
    `other nodes were faster at each block of pool "${pool}" that this one tried to take`,
    'the runtime tries again',
  )
}
