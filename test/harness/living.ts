/** What must not outlive this process. */

/** How tap ends a file that takes too long. */
const deadlySignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
const exitBySignal = (): never => process.exit(143)

/** Things that are removed when this process exits, or is told to. Handlers are there as long as one lives. */
export class Living<T> {
  readonly #things = new Set<T>()
  readonly #removeAll: () => void

  /** @param remove must be synchronous, so that it works while the process exits */
  constructor(remove: (thing: T) => void) {
    this.#removeAll = () => {
      for (const thing of this.#things) remove(thing)
    }
  }

  get size(): number {
    return this.#things.size
  }

  add(thing: T): void {
    if (this.#things.size === 0) {
      process.on('exit', this.#removeAll)
      for (const signal of deadlySignals) process.on(signal, exitBySignal)
    }
    this.#things.add(thing)
  }

  /** It has been removed. */
  delete(thing: T): void {
    if (!this.#things.delete(thing) || this.#things.size > 0) return
    process.removeListener('exit', this.#removeAll)
    for (const signal of deadlySignals) process.removeListener(signal, exitBySignal)
  }
}
