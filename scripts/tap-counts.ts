/** Reads what tap prints: what to show of it while it comes, and the counts at the end. */

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const testPoint = /^( *)(not )?ok\b/
const summary = /^# \{ (.*) \}$/

export class TapCounts {
  #summary: Record<string, number> | undefined
  #filesPassed = 0
  #filesFailed = 0
  /** Indentation of the failure whose diagnostics are being read. */
  #failure: number | undefined
  #block: string[] = []

  /** Takes the next line and gives those to show now: each finished file, failures with all that is known of them. */
  read(line: string): string[] {
    const [, totals] = summary.exec(line) ?? []
    if (totals !== undefined) {
      const pairs = totals.split(', ').map(pair => pair.split(': '))
      this.#summary = Object.fromEntries(pairs.map(([name, count]) => [name, Number(count)]))
      return []
    }
    const [point, indentation = '', not] = testPoint.exec(line) ?? []
    if (point === undefined) {
      if (this.#failure !== undefined) this.#block.push(line)
      if (this.#failure !== undefined && line === `${' '.repeat(this.#failure)}  ...`) this.#failure = undefined
      return []
    }
    const nested = indentation !== ''
    if (not !== undefined || (nested && /# (SKIP|TODO)/i.test(line))) this.#block.push(line)
    this.#failure = not === undefined ? undefined : indentation.length
    if (nested) return []
    if (not === undefined) this.#filesPassed++
    else this.#filesFailed++
    const shown = not === undefined ? [line, ...this.#block] : this.#block
    this.#block = []
    return shown
  }

  /** What is left to show: diagnostics of the last failure. */
  rest(): string[] {
    return this.#block
  }

  /** tap's own count of assertions; when tap ended without one, what is known, and at least one failure. */
  counts(): Counts {
    const { pass, fail = 0, skip = 0, todo = 0 } = this.#summary ?? {}
    if (this.#summary === undefined) return { passed: this.#filesPassed, failed: this.#filesFailed + 1, skipped: 0 }
    return { passed: pass ?? 0, failed: Math.max(fail, this.#filesFailed), skipped: skip + todo }
  }
}
