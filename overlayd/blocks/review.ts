/** Looking after the blocks that this node holds: one more before they are full, one less when it is empty for long. */

import { heldRanges } from '../../ipam/cluster/pool-range.ts'
import type { HeldBlock, HeldBlocks } from '../../ipam/cluster/state-files.ts'
import { addressToBigInt } from '../../lib/address/address.ts'
import { parsePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { bootTimeSeconds } from '../../lib/sys/clock.ts'
import { LockTimeoutError } from '../../lib/sys/lock.ts'
import type { Log } from '../log.ts'
import { readRange } from './choose.ts'
import { NetworkFiles, networksIn, type UsedAddress, usedIn } from './network-files.ts'
import { type BlockRecord, type BlockStore, blockKey, type PinRecord, pinKey, unchanged } from './records.ts'
import type { BlockService } from './service.ts'

export interface ReviewOptions {
  readonly node: string
  readonly store: BlockStore
  readonly dataDirectory: string
  readonly log: Log
  readonly service: BlockService
  /** The share of a network's addresses in use from which on it gets another block: 0.8. */
  readonly leaseAhead: number
  /** For how long a block is empty before it is given back. */
  readonly idleSeconds: number
  /** The plugin that asked for an address takes it at once; when it was killed before, the address goes back after so long. */
  readonly unusedSeconds: number
}

/** Without a change a network is looked at this often, for what only time brings. */
const UNCHANGED_SECONDS = 30
/** How often etcd is told how many addresses of a block are in use. */
const REPORT_SECONDS = 60

/** What is remembered of a network; nothing of it is needed after a restart. */
class Memory {
  changedAt: string | undefined
  /** When there is something to see even without a change. */
  dueAt = Number.NEGATIVE_INFINITY
  /** Since when blocks are empty. */
  readonly emptySince = new Map<string, number>()
  /** Since when borrowed addresses are known and not in use. */
  readonly unusedSince = new Map<string, number>()
  readonly reported = new Map<string, { count: number; at: number }>()
  isExhausted = false
}

export class Review {
  /** Whether something could not be done, so that files and etcd may differ. */
  hasFailed = false
  readonly #options: ReviewOptions
  readonly #memories = new Map<string, Memory>()

  constructor(options: ReviewOptions) {
    this.#options = options
  }

  async all(): Promise<void> {
    const { dataDirectory, service, log } = this.#options
    for (const network of networksIn(dataDirectory)) {
      try {
        await service.alone(network, () => this.#review(network))
      } catch (error) {
        if (!(error instanceof CniError) && !(error instanceof LockTimeoutError)) throw error
        this.hasFailed = true
        log.warn('could not look after the blocks of a network', { network, error })
      }
    }
  }

  async #review(network: string): Promise<void> {
    const files = new NetworkFiles(this.#options.dataDirectory, network)
    const held = files.read()
    if (held === undefined) return
    const memory = this.#memories.get(network) ?? new Memory()
    this.#memories.set(network, memory)
    const [now, changedAt] = [bootTimeSeconds(), files.changedAt()]
    const isDue = changedAt !== memory.changedAt || now >= memory.dueAt
    if (!isDue && held.borrowed.length === 0 && memory.emptySince.size === 0) return
    const used = files.used()
    await this.#giveBackBorrowed(files, held, used, memory)
    const stale = used.filter(one => !one.taken && isFree(one, held) && !isHeld(held, one))
    if (stale.length > 0) files.removeMarks(stale)
    const isComplete = await this.#takeAhead(network, held, used, memory)
    await this.#giveBackEmpty(files, held, used, memory)
    await this.#report(held, network, used, memory)
    if (!isComplete) return
    memory.changedAt = changedAt
    memory.dueAt = now + Math.min(UNCHANGED_SECONDS, nextCooled(used, held))
  }

  /** The address is back with its block's node when the pin is gone: the file first, so that it is never handed out twice. */
  async #giveBackBorrowed(files: NetworkFiles, held: HeldBlocks, used: readonly UsedAddress[], memory: Memory) {
    const { node, store } = this.#options
    for (const address of held.borrowed) {
      const file = used.find(({ text }) => text === address)
      const since = memory.unusedSince.get(address) ?? bootTimeSeconds()
      if (file?.taken) memory.unusedSince.delete(address)
      else memory.unusedSince.set(address, since)
      // An empty file says that it was in use; none, that it was never taken so far.
      if (file?.taken || (file === undefined && bootTimeSeconds() - since < this.#options.unusedSeconds)) continue
      let isBack = false
      files.change(now => {
        if (now === undefined || files.holderOf(address) !== undefined) return now
        isBack = true
        return { ...now, borrowed: now.borrowed.filter(other => other !== address) }
      })
      if (!isBack) continue
      files.removeMarks(file === undefined ? [] : [file])
      memory.unusedSince.delete(address)
      const pin = await store.get<PinRecord>(pinKey(held.pool, address))
      if (pin?.value.node === node && pin.value.network === files.network)
        await store.transaction([unchanged(pin)], [{ delete: pin.key }])
    }
  }

  /** @returns false when it is to be tried again soon */
  async #takeAhead(network: string, held: HeldBlocks, used: readonly UsedAddress[], memory: Memory): Promise<boolean> {
    const { service, leaseAhead, log } = this.#options
    for (const index of held.rangeSets.keys()) {
      const capacity = capacityOf(held, held.blocks, index)
      const unavailable = this.#unavailable(held, held.blocks, index, used)
      if (capacity === 0 || unavailable < capacity * leaseAhead) continue
      try {
        await service.takeAnother(network, held, index)
        memory.isExhausted = false
      } catch (error) {
        if (!(error instanceof CniError)) throw error
        if (error.code !== ErrorCode.poolExhausted) return false
        if (!memory.isExhausted) log.warn(error.message, { network, details: error.details })
        memory.isExhausted = true
      }
    }
    return true
  }

  /** One at a time, and never the last of a range set; the others must not become full by it soon. */
  async #giveBackEmpty(files: NetworkFiles, held: HeldBlocks, used: readonly UsedAddress[], memory: Memory) {
    const { idleSeconds, log } = this.#options
    for (const block of held.blocks) {
      const isEmpty = block.lent.length === 0 && usedIn(used, block.prefix).every(one => isFree(one, held))
      const since = memory.emptySince.get(block.prefix) ?? bootTimeSeconds()
      if (isEmpty && this.#isSpare(held, block, used)) memory.emptySince.set(block.prefix, since)
      else memory.emptySince.delete(block.prefix)
      if (!memory.emptySince.has(block.prefix) || bootTimeSeconds() - since < idleSeconds) continue
      let isBack = false
      files.change(now => {
        const current = now?.blocks.find(({ prefix }) => prefix === block.prefix)
        const inBlock = usedIn(files.used(), block.prefix)
        if (now === undefined || current === undefined || current.lent.length > 0) return now
        if (!inBlock.every(one => isFree(one, now))) return now
        files.removeMarks(inBlock)
        isBack = true
        return { ...now, blocks: now.blocks.filter(other => other !== current) }
      })
      if (!isBack) continue
      memory.emptySince.delete(block.prefix)
      await this.#tellThatItIsFree(held.pool, files.network, block.prefix)
      log.info('gave back an empty block', { network: files.network, pool: held.pool, block: block.prefix })
      return
    }
  }

  #isSpare(held: HeldBlocks, block: HeldBlock, used: readonly UsedAddress[]): boolean {
    const others = held.blocks.filter(other => other !== block)
    return held.rangeSets.every((_, index) => {
      if (capacityOf(held, [block], index) === 0) return true
      const capacity = capacityOf(held, others, index)
      return capacity > 0 && this.#unavailable(held, others, index, used) <= capacity * (this.#options.leaseAhead / 2)
    })
  }

  #unavailable(held: HeldBlocks, blocks: readonly HeldBlock[], index: number, used: readonly UsedAddress[]): number {
    const set = (held.rangeSets[index] ?? []).map(readRange)
    const own = blocks.filter(block => heldRanges(set, [block]).length > 0)
    return own.reduce((sum, block) => sum + usedIn(used, block.prefix).filter(one => !isFree(one, held)).length, 0)
  }

  async #tellThatItIsFree(pool: string, network: string, prefix: string): Promise<void> {
    const { node, store } = this.#options
    const block = parsePrefix(prefix)
    const entry = block && (await store.get<BlockRecord>(blockKey(pool, block)))
    if (entry?.value.node === node && entry.value.network === network)
      await store.transaction([unchanged(entry)], [{ delete: entry.key }])
  }

  /** A dead node's blocks that were not in use are taken before the others. */
  async #report({ pool, blocks }: HeldBlocks, network: string, used: readonly UsedAddress[], memory: Memory) {
    const { node, store } = this.#options
    const now = bootTimeSeconds()
    for (const { prefix, lent } of blocks) {
      const count = usedIn(used, prefix).filter(({ taken }) => taken).length + lent.length
      const before = memory.reported.get(prefix)
      if (before !== undefined && (before.count === count || now - before.at < REPORT_SECONDS)) continue
      const block = parsePrefix(prefix)
      const entry = block && (await store.get<BlockRecord>(blockKey(pool, block)))
      if (entry?.value.node !== node || entry.value.network !== network) continue
      const record: BlockRecord = { ...entry.value, inUse: count }
      if (entry.value.inUse !== count) await store.transaction([unchanged(entry)], [{ put: entry.key, value: record }])
      memory.reported.set(prefix, { count, at: now })
    }
  }
}

/** Whether an address may be handed out, as far as its file says. */
function isFree({ taken, age }: UsedAddress, { coolDownSeconds }: HeldBlocks): boolean {
  return !taken && Math.abs(age) >= coolDownSeconds
}

/** Whether it lies in a block of this node, or is borrowed. */
function isHeld({ blocks, borrowed }: HeldBlocks, used: UsedAddress): boolean {
  return borrowed.includes(used.text) || blocks.some(({ prefix }) => usedIn([used], prefix).length > 0)
}

/** Seconds until one of the addresses that cool down is free. */
function nextCooled(used: readonly UsedAddress[], held: HeldBlocks): number {
  let soonest = Number.POSITIVE_INFINITY
  for (const one of used)
    if (!one.taken && !isFree(one, held)) soonest = Math.min(soonest, held.coolDownSeconds - one.age)
  return soonest
}

/** How many addresses of a range set some blocks have. */
function capacityOf({ rangeSets }: HeldBlocks, blocks: readonly HeldBlock[], index: number): number {
  const set = (rangeSets[index] ?? []).map(readRange)
  let count = 0n
  for (const { start, end, gateway } of heldRanges(set, blocks)) {
    count += addressToBigInt(end) - addressToBigInt(start) + 1n
    const isInside =
      addressToBigInt(start) <= addressToBigInt(gateway) && addressToBigInt(gateway) <= addressToBigInt(end)
    if (isInside) count -= 1n
  }
  return Number(count)
}
