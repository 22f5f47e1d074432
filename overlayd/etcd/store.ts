/**
 * etcd as the agent sees it: JSON values below a prefix, conditional transactions, and views that stay up to date.
 *
 * A transaction whose answer was lost is made again, so its conditions must not hold a second time; who is then told
 * that it failed reads what is there and recognises its own.
 */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Log } from '../log.ts'
import type { EtcdClient } from './client.ts'
import { EtcdError } from './errors.ts'
import { rangeOf } from './keys.ts'
import type { NodeLease } from './lease.ts'
import { CompareTarget, Comparison, EventType, grantLease, keepLeaseAlive, range, transaction, watch } from './rpc.ts'
import { type Entry, type Snapshot, streamEnd, View, type ViewChange, type ViewEvent } from './view.ts'

export type { Entry, View, ViewChange } from './view.ts'

/** What must hold for a transaction to be made. */
export type Condition =
  /** The key was last changed at this revision; 0: there is no such key. */
  | { readonly key: string; readonly revision: number }
  | { readonly key: string; readonly exists: true }
  /** No key is below the prefix. */
  | { readonly empty: string }

export type Operation =
  /** `leased`: under the node's lease, which puts it again should it be lost; or under a lease of one's own. */
  | { readonly put: string; readonly value: unknown; readonly leased?: boolean | bigint }
  | { readonly delete: string }
  | { readonly deletePrefix: string }

/** Keys of one answer: some megabytes at most. */
const PAGE = 5_000

type KeyValue = NonNullable<NonNullable<Awaited<ReturnType<typeof range.answer.decode>>['kvs']>[number]>

export class Store {
  readonly #client: EtcdClient
  readonly #prefix: string
  readonly #lease: NodeLease
  readonly #log: Log

  /** @param prefix of all keys: "/cnikit/v1/" */
  constructor(client: EtcdClient, prefix: string, lease: NodeLease, log: Log) {
    this.#client = client
    this.#prefix = prefix
    this.#lease = lease
    this.#log = log
  }

  /** @throws CniError code 11 when etcd does not answer */
  async get<T>(key: string): Promise<Entry<T> | undefined> {
    const { kvs } = await this.#try(() => this.#client.ask(range, { key: Buffer.from(this.#prefix + key) }))
    return kvs?.[0] === undefined ? undefined : this.#entry<T>(kvs[0])
  }

  /** Several keys as they were at one moment. @throws CniError code 11 */
  async getAll<T>(wanted: readonly string[]): Promise<(Entry<T> | undefined)[]> {
    return Promise.all(wanted.map(key => this.get<T>(key)))
  }

  /** Everything below a prefix, as it was at one revision. @throws CniError code 11 */
  async list<T>(prefix: string, options: { keysOnly?: boolean } = {}): Promise<Snapshot<T>> {
    return this.#try(() => this.#list<T>(prefix, options.keysOnly ?? false))
  }

  async #list<T>(prefix: string, keysOnly: boolean): Promise<Snapshot<T>> {
    const { key: first, rangeEnd } = rangeOf(this.#prefix + prefix)
    const entries: Entry<T>[] = []
    let [key, revision] = [first, 0]
    for (;;) {
      const answer = await this.#client.ask(range, { key, rangeEnd, limit: PAGE, revision, keysOnly })
      // The following pages show the state that the first one showed.
      if (revision === 0) revision = answer.header?.revision ?? 0
      for (const item of answer.kvs ?? []) {
        const entry = keysOnly ? this.#keyOnly<T>(item) : this.#entry<T>(item)
        if (entry !== undefined) entries.push(entry)
      }
      const last = answer.kvs?.at(-1)?.key
      if (answer.more !== true || last === undefined) return { entries, revision }
      key = Buffer.concat([last, Buffer.of(0)])
    }
  }

  /**
   * Makes the changes if all the conditions hold.
   * @returns the revision of the changes, or that at which a condition did not hold
   * @throws CniError code 11
   */
  async transaction(
    conditions: readonly Condition[],
    operations: readonly Operation[],
  ): Promise<{ succeeded: boolean; revision: number }> {
    return this.#try(async () => {
      const lease = operations.some(isLeased) ? await this.#lease.id() : 0n
      const answer = await this.#client.ask(transaction, {
        compare: conditions.map(condition => this.#compare(condition)),
        success: operations.map(operation => this.#operation(operation, lease)),
      })
      const succeeded = answer.succeeded === true
      if (succeeded) this.#follow(operations)
      return { succeeded, revision: answer.header?.revision ?? 0 }
    })
  }

  /** @returns whether there was no such key, and now is */
  async createIfAbsent(key: string, value: unknown, options: { leased?: boolean } = {}): Promise<boolean> {
    return this.compareAndSet(key, 0, value, options)
  }

  /** @param revision that the key was last seen at; 0: absent */
  async compareAndSet(
    key: string,
    revision: number,
    value: unknown,
    options: { leased?: boolean } = {},
  ): Promise<boolean> {
    const { succeeded } = await this.transaction([{ key, revision }], [{ put: key, value, ...options }])
    return succeeded
  }

  async compareAndDelete(key: string, revision: number): Promise<boolean> {
    const { succeeded } = await this.transaction([{ key, revision }], [{ delete: key }])
    return succeeded
  }

  /** What is below the prefix, from now on; the first change is the snapshot. Close it when it is not needed any more. */
  watch<T>(prefix: string, onChange: (change: ViewChange<T>) => void): View<T> {
    const source = {
      list: () => this.#list<T>(prefix, false),
      watch: (
        startRevision: number,
        handlers: {
          events(events: readonly ViewEvent<T>[], revision: number): void
          ended(end: ReturnType<typeof streamEnd>): void
        },
      ) => this.#watch<T>(prefix, startRevision, handlers),
    }
    return new View<T>(prefix, source, onChange, this.#log)
  }

  async #watch<T>(
    prefix: string,
    startRevision: number,
    handlers: {
      events(events: readonly ViewEvent<T>[], revision: number): void
      ended(end: ReturnType<typeof streamEnd>): void
    },
  ): Promise<{ close(): void }> {
    let cancelled: ReturnType<typeof streamEnd> | undefined
    const stream = await this.#client.stream(
      watch,
      { create: { ...rangeOf(this.#prefix + prefix), startRevision, progressNotify: true } },
      {
        answer: answer => {
          if (answer.canceled) {
            const compacted = (answer.compactRevision ?? 0) > 0
            cancelled = { ...streamEnd(0, answer.cancelReason || 'cancelled by etcd'), compacted }
            // With its reason: etcd refuses a stale token in an answer, too, and the client has to get another.
            stream.close(cancelled.reason)
            return
          }
          // The answer to the creation has etcd's revision, not that up to which events were sent.
          const revision = answer.created ? startRevision - 1 : (answer.header?.revision ?? 0)
          handlers.events(
            (answer.events ?? []).flatMap(({ type, kv }) => this.#event<T>(type ?? EventType.put, kv)),
            revision,
          )
        },
        ended: error => handlers.ended(cancelled ?? streamEnd(error.status, error.message)),
      },
    )
    return stream
  }

  #event<T>(type: number, kv: KeyValue | undefined): ViewEvent<T>[] {
    if (kv === undefined) return []
    if (type === EventType.delete) return [{ deleted: this.#keyOf(kv) }]
    const entry = this.#entry<T>(kv)
    return entry === undefined ? [] : [{ put: entry }]
  }

  #keyOf(item: KeyValue): string {
    return Buffer.from(item.key ?? '')
      .toString()
      .slice(this.#prefix.length)
  }

  #keyOnly<T>(item: KeyValue): Entry<T> {
    return { ...this.#common(item), value: undefined as T }
  }

  #common(item: KeyValue) {
    return {
      key: this.#keyOf(item),
      revision: item.modRevision ?? 0,
      created: item.createRevision ?? 0,
      leased: (item.lease ?? 0n) !== 0n,
    }
  }

  /** Undefined for what is no JSON: not written by any agent. */
  #entry<T>(item: KeyValue): Entry<T> | undefined {
    try {
      return { ...this.#common(item), value: JSON.parse(Buffer.from(item.value ?? '').toString()) as T }
    } catch {
      this.#log.warn('a value in etcd is no JSON and is passed over', { key: this.#keyOf(item) })
      return undefined
    }
  }

  #compare(condition: Condition) {
    if ('empty' in condition) {
      const none = { target: CompareTarget.version, result: Comparison.equal, version: 0 }
      return { ...rangeOf(this.#prefix + condition.empty), ...none }
    }
    const key = Buffer.from(this.#prefix + condition.key)
    return 'exists' in condition
      ? { key, target: CompareTarget.version, result: Comparison.greater, version: 0 }
      : { key, target: CompareTarget.mod, result: Comparison.equal, modRevision: condition.revision }
  }

  #operation(operation: Operation, lease: bigint) {
    if ('deletePrefix' in operation) return { delete: rangeOf(this.#prefix + operation.deletePrefix) }
    if ('delete' in operation) return { delete: { key: Buffer.from(this.#prefix + operation.delete) } }
    const value = Buffer.from(JSON.stringify(operation.value))
    const own = typeof operation.leased === 'bigint' ? operation.leased : 0n
    const put = { key: Buffer.from(this.#prefix + operation.put), value }
    return { put: { ...put, lease: isLeased(operation) ? lease : own } }
  }

  /** The lease has to know what it holds, so that it is put again under the next one. */
  #follow(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if ('deletePrefix' in operation) this.#lease.releasePrefix(this.#prefix + operation.deletePrefix)
      else if ('delete' in operation) this.#lease.release(this.#prefix + operation.delete)
      else if (isLeased(operation))
        this.#lease.hold(this.#prefix + operation.put, Buffer.from(JSON.stringify(operation.value)))
      else this.#lease.release(this.#prefix + operation.put)
    }
  }

  /** A lease of one's own, which the caller renews. @returns its number @throws CniError code 11 */
  async grantLease(seconds: number): Promise<bigint> {
    const { id = 0n } = await this.#try(() => this.#client.ask(grantLease, { ttl: seconds }))
    return id
  }

  /** @returns the seconds it lives from now on; 0: it has run out @throws CniError code 11 */
  async renewLease(id: bigint): Promise<number> {
    const { ttl = 0 } = await this.#try(() => this.#client.ask(keepLeaseAlive, { id }))
    return Math.max(0, ttl)
  }

  async #try<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      throw new CniError(
        error.passing ? ErrorCode.tryAgainLater : ErrorCode.controlPlane,
        error.message,
        error.passing
          ? 'etcd must be reachable with a majority of its members: "etcdctl endpoint status"'
          : "overlayd's settings name its endpoints, certificates and user",
        { cause: error },
      )
    }
  }
}

/** Put under the node's lease. */
function isLeased(operation: Operation): boolean {
  return 'put' in operation && operation.leased === true
}
