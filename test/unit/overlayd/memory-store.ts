/** etcd in this process: revisions, conditions, leases that a test lets run out, and a cable for each node to pull. */

import { CniError, ErrorCode } from '../../../lib/cni/errors.ts'
import type { BlockStore } from '../../../overlayd/blocks/records.ts'
import type { Condition, Operation } from '../../../overlayd/etcd/store.ts'
import { type Entry, View, type ViewChange, type ViewEvent } from '../../../overlayd/etcd/view.ts'
import { Log } from '../../../overlayd/log.ts'

interface Stored {
  readonly text: string
  readonly revision: number
  readonly created: number
  readonly lease: bigint
}

type Listener = (event: { key: string; put: Entry<unknown> | undefined }, revision: number) => void

export const silent = new Log('error', {}, () => {})

export class MemoryEtcd {
  readonly #values = new Map<string, Stored>()
  readonly #leases = new Set<bigint>()
  readonly #listeners = new Set<Listener>()
  #revision = 1
  #lastLease = 0n
  /** Runs before each call of any node. */
  onCall: () => Promise<void> = () => new Promise(resolve => setImmediate(resolve))

  /** A node's way to it. */
  connect(): MemoryStore {
    return new MemoryStore(this)
  }

  keys(prefix = ''): string[] {
    return [...this.#values.keys()].filter(key => key.startsWith(prefix)).toSorted()
  }

  value<T>(key: string): T | undefined {
    const stored = this.#values.get(key)
    return stored && (JSON.parse(stored.text) as T)
  }

  entry<T>(key: string): Entry<T> | undefined {
    const stored = this.#values.get(key)
    if (stored === undefined) return undefined
    const { revision, created, lease, text } = stored
    return { key, value: JSON.parse(text) as T, revision, created, leased: lease !== 0n }
  }

  get revision(): number {
    return this.#revision
  }

  transaction(conditions: readonly Condition[], operations: readonly (Operation & { leased?: boolean | bigint })[]) {
    const holds = (condition: Condition) => {
      if ('empty' in condition) return [...this.keys(condition.empty)].length === 0
      const revision = this.#values.get(condition.key)?.revision ?? 0
      return 'exists' in condition ? revision > 0 : revision === condition.revision
    }
    const succeeded = conditions.every(holds)
    if (succeeded) {
      this.#revision++
      for (const operation of operations) this.#apply(operation)
    }
    return { succeeded, revision: this.#revision }
  }

  #apply(operation: Operation & { leased?: boolean | bigint }): void {
    if ('deletePrefix' in operation) for (const key of this.keys(operation.deletePrefix)) this.#remove(key)
    else if ('delete' in operation) this.#remove(operation.delete)
    else {
      const { put: key, value, leased } = operation
      const created = this.#values.get(key)?.created ?? this.#revision
      const lease = typeof leased === 'bigint' ? leased : 0n
      this.#values.set(key, { text: JSON.stringify(value), revision: this.#revision, created, lease })
      this.#tell(key)
    }
  }

  #remove(key: string): void {
    if (this.#values.delete(key)) this.#tell(key)
  }

  #tell(key: string): void {
    const entry = this.entry(key)
    for (const listen of this.#listeners) listen({ key, put: entry }, this.#revision)
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  grant(): bigint {
    this.#leases.add(++this.#lastLease)
    return this.#lastLease
  }

  isAlive(lease: bigint): boolean {
    return this.#leases.has(lease)
  }

  /** The lease under which a key stands runs out. */
  expire(key: string): void {
    const lease = this.#values.get(key)?.lease ?? 0n
    this.#leases.delete(lease)
    this.#revision++
    for (const [other, stored] of this.#values) if (stored.lease === lease && lease !== 0n) this.#remove(other)
  }
}

export class MemoryStore implements BlockStore {
  readonly #etcd: MemoryEtcd
  isConnected = true

  constructor(etcd: MemoryEtcd) {
    this.#etcd = etcd
  }

  async #call<T>(run: () => T): Promise<T> {
    await this.#etcd.onCall()
    if (!this.isConnected) throw new CniError(ErrorCode.tryAgainLater, 'etcd does not answer')
    return run()
  }

  get<T>(key: string): Promise<Entry<T> | undefined> {
    return this.#call(() => this.#etcd.entry<T>(key))
  }

  list<T>(prefix: string): Promise<{ entries: Entry<T>[]; revision: number }> {
    return this.#call(() => ({
      entries: this.#etcd.keys(prefix).flatMap(key => this.#etcd.entry<T>(key) ?? []),
      revision: this.#etcd.revision,
    }))
  }

  transaction(conditions: readonly Condition[], operations: readonly Operation[]) {
    return this.#call(() => this.#etcd.transaction(conditions, operations))
  }

  grantLease(): Promise<bigint> {
    return this.#call(() => this.#etcd.grant())
  }

  renewLease(id: bigint): Promise<number> {
    return this.#call(() => (this.#etcd.isAlive(id) ? 600 : 0))
  }

  watch<T>(prefix: string, onChange: (change: ViewChange<T>) => void): View<T> {
    const source = {
      list: () => this.list<T>(prefix),
      watch: async (_: number, handlers: { events(events: readonly ViewEvent<T>[], revision: number): void }) => {
        const close = this.#etcd.listen(({ key, put }, revision) => {
          if (!this.isConnected || !key.startsWith(prefix)) return
          handlers.events([put === undefined ? { deleted: key } : { put: put as Entry<T> }], revision)
        })
        return { close }
      },
    }
    return new View<T>(prefix, source, onChange, silent)
  }
}
