/**
 * What is below a prefix, kept up to date: a snapshot, then etcd's events from its revision on. After a lost connection
 * the events go on where they ended; when etcd has compacted these away, a new snapshot is compared with what is known.
 */

import type { Log } from '../log.ts'
import { Status } from './errors.ts'

/** A key and its value. */
export interface Entry<T> {
  /** Without the configured prefix. */
  readonly key: string
  readonly value: T
  /** When it was last changed, and when it was made: revisions of the whole of etcd. */
  readonly revision: number
  readonly created: number
  /** Under a node's lease. */
  readonly leased: boolean
}

export interface Snapshot<T> {
  readonly entries: readonly Entry<T>[]
  readonly revision: number
}

/** Several changes at once; of one key only the last. */
export interface ViewChange<T> {
  readonly changed: readonly Entry<T>[]
  /** As they were before. */
  readonly removed: readonly Entry<T>[]
  /** The view was compared with a snapshot: the first time, and after a compaction. */
  readonly resynced: boolean
}

export type ViewEvent<T> = { readonly put: Entry<T> } | { readonly deleted: string }

export interface WatchEnd {
  readonly reason: string
  readonly status: number
  /** The events asked for are compacted away. */
  readonly compacted: boolean
}

/** Where a view's contents come from: the store. */
export interface ViewSource<T> {
  list(): Promise<Snapshot<T>>
  watch(
    fromRevision: number,
    handlers: { events(events: readonly ViewEvent<T>[], revision: number): void; ended(end: WatchEnd): void },
  ): Promise<{ close(): void }>
}

/** Pauses between attempts. */
const [FIRST_PAUSE_MS, LAST_PAUSE_MS] = [50, 2_000]

export class View<T> {
  /** Fulfilled with the first snapshot, however long that takes. */
  readonly ready: Promise<void>
  readonly #prefix: string
  readonly #source: ViewSource<T>
  readonly #onChange: (change: ViewChange<T>) => void
  readonly #log: Log
  readonly #entries = new Map<string, Entry<T>>()
  readonly #waiting = new Set<() => void>()
  #isReady = () => {}
  #revision = 0
  #connected = false
  #closed = false
  #watch: { close(): void } | undefined

  constructor(prefix: string, source: ViewSource<T>, onChange: (change: ViewChange<T>) => void, log: Log) {
    this.#prefix = prefix
    this.#source = source
    this.#onChange = onChange
    this.#log = log
    this.ready = new Promise(resolve => {
      this.#isReady = resolve
    })
    void this.#run()
  }

  /** By key. */
  get entries(): ReadonlyMap<string, Entry<T>> {
    return this.#entries
  }

  /** Up to which revision the entries are complete; 0 before the first snapshot. */
  get revision(): number {
    return this.#revision
  }

  /** Whether changes arrive. */
  get connected(): boolean {
    return this.#connected
  }

  /** Waits until the view is at a revision, that of a change of one's own below the prefix for example. */
  reaches(revision: number, timeoutMs: number): Promise<boolean> {
    if (this.#revision >= revision) return Promise.resolve(true)
    return new Promise(resolve => {
      const finish = (reached: boolean) => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve(reached)
      }
      const look = () => {
        if (this.#revision >= revision || this.#closed) finish(this.#revision >= revision)
      }
      const timer = setTimeout(() => finish(false), timeoutMs)
      this.#waiting.add(look)
    })
  }

  close(): void {
    this.#closed = true
    this.#watch?.close()
    this.#moveTo(this.#revision)
  }

  async #run(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS
    let synchronised = false
    while (!this.#closed) {
      try {
        if (!synchronised) {
          this.#resync(await this.#source.list())
          synchronised = true
        }
        const end = await this.#follow(() => {
          pauseMs = FIRST_PAUSE_MS
        })
        if (this.#closed) return
        this.#log.info('watch ended', { prefix: this.#prefix, reason: end.reason, compacted: end.compacted })
        if (end.compacted) synchronised = false
      } catch (error) {
        this.#log.warn('watch failed', { prefix: this.#prefix, error })
      }
      await new Promise(resolve => setTimeout(resolve, pauseMs))
      pauseMs = Math.min(pauseMs * 2, LAST_PAUSE_MS)
    }
  }

  async #follow(heard: () => void): Promise<WatchEnd> {
    return new Promise((resolve, reject) => {
      const handlers = {
        events: (events: readonly ViewEvent<T>[], revision: number) => {
          this.#connected = true
          heard()
          if (!this.#closed) this.#take(events, revision)
        },
        ended: (end: WatchEnd) => {
          this.#connected = false
          this.#watch = undefined
          resolve(end)
        },
      }
      this.#source.watch(this.#revision + 1, handlers).then(watch => {
        this.#watch = watch
        if (this.#closed) watch.close()
      }, reject)
    })
  }

  #resync({ entries, revision }: Snapshot<T>): void {
    if (this.#closed) return
    const gone = new Map(this.#entries)
    const changed: Entry<T>[] = []
    for (const entry of entries) {
      if (gone.get(entry.key)?.revision !== entry.revision) changed.push(entry)
      gone.delete(entry.key)
      this.#entries.set(entry.key, entry)
    }
    for (const key of gone.keys()) this.#entries.delete(key)
    this.#report({ changed, removed: [...gone.values()], resynced: true })
    this.#moveTo(revision)
    this.#isReady()
  }

  #take(events: readonly ViewEvent<T>[], revision: number): void {
    if (events.length > 0) {
      const changed = new Map<string, Entry<T>>()
      const removed = new Map<string, Entry<T>>()
      for (const event of events) {
        const key = 'put' in event ? event.put.key : event.deleted
        const before = this.#entries.get(key)
        if ('put' in event) {
          this.#entries.set(key, event.put)
          changed.set(key, event.put)
          removed.delete(key)
        } else {
          this.#entries.delete(key)
          changed.delete(key)
          if (before !== undefined) removed.set(key, before)
        }
      }
      this.#report({ changed: [...changed.values()], removed: [...removed.values()], resynced: false })
    }
    this.#moveTo(Math.max(revision, this.#revision))
  }

  #report(change: ViewChange<T>): void {
    try {
      this.#onChange(change)
    } catch (error) {
      this.#log.error('a change could not be taken', { prefix: this.#prefix, error })
    }
  }

  #moveTo(revision: number): void {
    this.#revision = revision
    for (const look of [...this.#waiting]) look()
  }
}

/** How a watch ended, from the status of its stream. */
export function streamEnd(status: number, reason: string): WatchEnd {
  return { status, reason, compacted: status === Status.outOfRange }
}
