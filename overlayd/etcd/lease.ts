/** The node's lease: what is put under it vanishes when the node has been silent for its time to live. */

import type { Log } from '../log.ts'
import type { EtcdClient } from './client.ts'
import { grantLease, keepLeaseAlive, transaction } from './rpc.ts'

/** How often it is renewed within its time to live. */
const RENEWALS = 3
const RETRY_MS = 500

export class NodeLease {
  readonly #client: EtcdClient
  readonly #log: Log
  readonly #ttlSeconds: number
  /** What stands under the lease: put again when it was lost. */
  readonly #held = new Map<string, Buffer>()
  #id = 0n
  #granting: Promise<bigint> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(client: EtcdClient, ttlSeconds: number, log: Log) {
    this.#client = client
    this.#ttlSeconds = ttlSeconds
    this.#log = log
  }

  /** The lease's number; it is granted when there is none yet. @throws EtcdError */
  async id(): Promise<bigint> {
    if (this.#id !== 0n) return this.#id
    this.#granting ??= this.#grant().finally(() => {
      this.#granting = undefined
    })
    return this.#granting
  }

  /** A key was put under the lease. */
  hold(key: string, value: Buffer): void {
    this.#held.set(key, value)
  }

  /** A key was deleted. */
  release(key: string): void {
    this.#held.delete(key)
  }

  /** Keys under the prefix were deleted. */
  releasePrefix(prefix: string): void {
    for (const key of this.#held.keys()) if (key.startsWith(prefix)) this.#held.delete(key)
  }

  /** The lease is left to run out: an agent that restarts must not be missed by the others. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  async #grant(): Promise<bigint> {
    const { id } = await this.#client.ask(grantLease, { ttl: this.#ttlSeconds })
    if (id === undefined) throw new RangeError('etcd granted a lease without a number')
    this.#id = id
    if (this.#held.size > 0) {
      const success = [...this.#held].map(([key, value]) => ({ put: { key: Buffer.from(key), value, lease: id } }))
      for (let start = 0; start < success.length; start += 100)
        await this.#client.ask(transaction, { success: success.slice(start, start + 100) })
    }
    this.#schedule()
    return id
  }

  #schedule(afterMs = (this.#ttlSeconds * 1000) / RENEWALS): void {
    if (this.#closed) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#renew(), afterMs)
  }

  async #renew(): Promise<void> {
    const totalMs = (this.#ttlSeconds * 1000) / RENEWALS
    try {
      if (this.#id !== 0n) {
        const { ttl = 0 } = await this.#client.ask(keepLeaseAlive, { id: this.#id }, totalMs)
        if (ttl <= 0) {
          this.#log.warn('lease lost, a new one is taken', { lease: this.#id.toString(16) })
          this.#id = 0n
        }
      }
      if (this.#id === 0n) await this.id()
    } catch (error) {
      this.#log.warn('lease not renewed', { error })
      this.#schedule(RETRY_MS)
      return
    }
    this.#schedule()
  }
}
