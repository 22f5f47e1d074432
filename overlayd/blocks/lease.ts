/**
 * Until when this node's blocks are its own. etcd keeps the key of a node under a lease of its own, as long as
 * settings.deadAfter; others take the node's blocks only in a transaction in which that key is absent. So it is etcd's
 * clock alone that decides, and when etcd itself was away, its leases begin anew.
 *
 * The node in turn hands out addresses only until the lease runs out, counted from before it was renewed the last time.
 * A node that comes back after that finds its key absent, sets it, and looks which of its blocks are still its own.
 */

import { currentBoot } from '../../ipam/allocator/index/stamp.ts'
import { readBlockLease, secondsOfLease, writeBlockLease } from '../../ipam/cluster/state-files.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { bootTimeSeconds } from '../../lib/sys/clock.ts'
import { makeDirectories } from '../../lib/sys/file.ts'
import type { Log } from '../log.ts'
import { type BlockStore, blockLeaseKey } from './records.ts'

export interface BlockLeaseOptions {
  readonly node: string
  readonly store: BlockStore
  readonly dataDirectory: string
  /** How long others leave the blocks of a node alone that is not heard of. */
  readonly seconds: number
  readonly log: Log
  /** Finds out which blocks are still this node's; its key is set by then, so that none is taken from it any more. */
  readonly recover: () => Promise<void>
}

export class BlockLeaseKeeper {
  readonly #options: BlockLeaseOptions
  #id: bigint | undefined
  #expires = 0
  #renewing: Promise<void> | undefined

  constructor(options: BlockLeaseOptions) {
    this.#options = options
  }

  /** Whether this node may take blocks and hand out addresses. */
  get holds(): boolean {
    return bootTimeSeconds() < this.#expires
  }

  /** Whether the plugins see that as well. */
  get isSeen(): boolean {
    const lease = readBlockLease(this.#options.dataDirectory)
    return this.holds && secondsOfLease(lease, currentBoot(), bootTimeSeconds()) > 0
  }

  /** Renews the lease, or begins another. One at a time: who calls meanwhile waits for the same. @throws CniError 11 */
  async renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined
    })
    await this.#renewing
  }

  async #renew(): Promise<void> {
    const { store, seconds, log } = this.#options
    const asked = bootTimeSeconds()
    if (this.#id !== undefined) {
      if ((await store.renewLease(this.#id)) > 0) {
        this.#extend(asked)
        return
      }
      this.#id = undefined
      log.warn('the lease of the address blocks has run out', { seconds })
    }
    await this.#begin()
  }

  async #begin(): Promise<void> {
    const { node, store, seconds, recover } = this.#options
    const asked = bootTimeSeconds()
    const id = await store.grantLease(seconds)
    const key = blockLeaseKey(node)
    const { succeeded } = await store.transaction([], [{ put: key, value: { node }, leased: id }])
    if (!succeeded) throw new CniError(ErrorCode.tryAgainLater, `etcd did not take the key "${key}"`)
    await recover()
    this.#id = id
    this.#extend(asked)
  }

  /** @param asked when etcd was asked: it counts from a later moment */
  #extend(asked: number): void {
    const { node, dataDirectory, seconds } = this.#options
    // What a plugin has begun in time it may still end.
    this.#expires = asked + seconds - Math.min(5, seconds / 6)
    const boot = currentBoot()
    if (boot === undefined) return
    // Not at every renewal: a file that is written every ten seconds wears a flash disk for nothing.
    const written = secondsOfLease(readBlockLease(dataDirectory), boot, asked)
    if (this.#expires - asked - written < seconds / 20) return
    makeDirectories(dataDirectory)
    writeBlockLease(dataDirectory, { version: 1, node, boot, expires: this.#expires })
  }
}
