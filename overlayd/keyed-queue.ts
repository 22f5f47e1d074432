/** Work that must not overlap with other work of the same key. */
export class KeyedQueue {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Runs after all that was given before for the same key, whether it failed or not. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve()
    const mine = before.then(work, work)
    const settled = mine.then(
      () => {},
      () => {},
    )
    this.#last.set(key, settled)
    try {
      return await mine
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key)
    }
  }
}
