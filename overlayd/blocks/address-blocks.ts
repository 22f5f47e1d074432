/** Cluster IPAM's part of the agent: this node's blocks of the address pools. */

import type { BlockAnswer, BlockRequest } from '../../lib/overlay/agent-protocol.ts'
import type { View } from '../etcd/store.ts'
import type { Log } from '../log.ts'
import { BlockLeaseKeeper } from './lease.ts'
import { Pins } from './pins.ts'
import { type Alone, type BlockStore, type PinRecord, pinsPrefix } from './records.ts'
import { recover } from './recover.ts'
import { Review } from './review.ts'
import { BlockService } from './service.ts'

export interface AddressBlocksOptions {
  readonly node: string
  readonly store: BlockStore
  readonly log: Log
  /** The plugins' `ipam.dataDir`. */
  readonly dataDirectory: string
  /** After so long without a word of it, other nodes take the blocks of a node. */
  readonly deadAfterSeconds: number
  /** The share of a network's addresses in use from which on it gets another block. */
  readonly leaseAhead: number
  /** For how long a block is empty before it is given back. */
  readonly idleSeconds: number
  /** How long to wait for a node that is asked for an address. */
  readonly patienceMs?: number
  /** After how long a borrowed address goes back that nobody has taken. */
  readonly unusedSeconds?: number
}

const PATIENCE_MS = 4_000
const UNUSED_SECONDS = 30

export class AddressBlocks {
  readonly #lease: BlockLeaseKeeper
  readonly #service: BlockService
  readonly #pins: Pins
  readonly #review: Review
  readonly #options: AddressBlocksOptions
  readonly #recover: () => Promise<void>
  #view: View<PinRecord> | undefined

  constructor(options: AddressBlocksOptions) {
    const { node, store, log, dataDirectory, deadAfterSeconds: seconds } = options
    const alone: Alone = (name, run) => this.#service.alone(name, run)
    const common = { node, store, log, dataDirectory, alone }
    this.#options = options
    this.#recover = () => recover(common)
    this.#pins = new Pins({ ...common, patienceMs: options.patienceMs ?? PATIENCE_MS })
    this.#lease = new BlockLeaseKeeper({
      ...common,
      seconds,
      recover: this.#recover,
    })
    this.#service = new BlockService(common, this.#lease, this.#pins)
    this.#review = new Review({
      ...options,
      unusedSeconds: options.unusedSeconds ?? UNUSED_SECONDS,
      service: this.#service,
    })
  }

  /** The verb `block`. @throws CniError */
  block(request: BlockRequest): Promise<BlockAnswer> {
    return this.#service.block(request)
  }

  /** Begins to listen for what other nodes ask, and takes the lease. @throws CniError 11 when etcd is away: `renew` goes on */
  async start(): Promise<void> {
    const { store, log } = this.#options
    this.#view = store.watch<PinRecord>(pinsPrefix, ({ removed }) => {
      const settled = removed.map(({ key }) => this.#pins.settle(key))
      Promise.all([...settled, this.answer()]).catch((error: unknown) =>
        log.warn('could not answer for an address', { error }),
      )
    })
    await this.renew()
  }

  /** To be called every few seconds. @throws CniError 11 when etcd is away */
  renew(): Promise<void> {
    return this.#lease.renew()
  }

  /** To be called every second. */
  async review(): Promise<void> {
    if (!this.#lease.holds) return
    await this.answer()
    await this.#review.all()
  }

  /** To be called every minute. */
  async sweep(): Promise<void> {
    if (!this.#lease.holds) return
    if (this.#view !== undefined) await this.#pins.sweep(this.#view.entries)
    // What etcd could not be told then, it is told now.
    if (!this.#review.hasFailed) return
    this.#review.hasFailed = false
    try {
      await this.#recover()
    } catch (error) {
      this.#review.hasFailed = true
      throw error
    }
  }

  /** Answers what other nodes ask; a node that may have lost its blocks has nothing to say. */
  async answer(): Promise<void> {
    if (this.#lease.holds) await this.#pins.answer(this.#view?.entries.values() ?? [])
  }

  /** The blocks stay this node's: an agent that is started again must not be missed. */
  stop(): void {
    this.#view?.close()
  }
}
