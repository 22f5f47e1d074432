/** ADD as a transaction: what it has changed is undone when it does not come to its end. */

import { pendingSignal } from '../sys/signals.ts'
import { CniError, ErrorCode } from './errors.ts'
import { toCniError } from './failure.ts'

interface Done {
  readonly description: string
  readonly undo: () => void
}

/**
 * The environment variable that makes the n-th step fail after it was done, so that a test can see every step of a
 * real executable undone: count up from 1 until ADD succeeds. Like all of the environment it comes from the runtime,
 * which is root and could as well kill the plugin at that point.
 */
export const FAIL_STEP_VARIABLE = 'CNIKIT_FAIL_STEP'

/** See {@link runTransaction}, which makes it. */
export class Transaction {
  #steps = 0
  /** Where the work stands, for errors. */
  #position = 'before the first step'
  readonly #done: Done[] = []
  readonly #failingStep: number

  constructor(environment: Readonly<Record<string, string>>) {
    this.#failingStep = Number(environment[FAIL_STEP_VARIABLE] ?? 0)
  }

  /**
   * One change, all of it or none, with its inverse. `undo` is given what `run` returned; without one the step leaves
   * nothing behind. When `run` itself throws there is nothing to undo.
   *
   * @param description names the step in errors: `add veth "veth0123"`
   * @throws CniError code 107 instead of running, when a signal asks the plugin to stop
   */
  step<T>(description: string, run: () => T, undo?: (result: T) => void): T {
    const signal = pendingSignal()
    if (signal !== undefined) {
      throw new CniError(ErrorCode.interrupted, `interrupted by ${signal} before "${description}"`)
    }
    this.#steps++
    this.#position = `in step ${this.#steps} "${description}"`
    const result = run()
    if (undo !== undefined) this.#done.push({ description, undo: () => undo(result) })
    if (this.#steps === this.#failingStep) {
      throw new CniError(ErrorCode.internal, `${FAIL_STEP_VARIABLE}=${this.#steps} makes this step fail`)
    }
    this.#position = `after step ${this.#steps} "${description}"`
    return result
  }

  /** Undoes the steps, last first, each whatever becomes of the others; returns what went wrong. */
  unwind(): string[] {
    const failures: string[] = []
    for (const { description, undo } of this.#done.splice(0).reverse()) {
      try {
        undo()
      } catch (error) {
        failures.push(`cannot undo "${description}": ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    return failures
  }

  /** `in step 3 "add veth"`, or between two: `after step 3 "add veth"`. */
  get position(): string {
    return this.#position
  }
}

/**
 * Runs a function whose changes are steps of a transaction. When it throws, in a step or between two, the steps are
 * undone; the error thrown then says in its details where that was and what could not be undone.
 *
 * @param environment the request's
 * @throws CniError
 */
export function runTransaction<T>(
  environment: Readonly<Record<string, string>>,
  body: (transaction: Transaction) => T,
): T {
  const transaction = new Transaction(environment)
  try {
    return body(transaction)
  } catch (thrown) {
    const error = toCniError(thrown)
    const position = `failed ${transaction.position}`
    const undone = transaction.unwind()
    const details = [error.details, position, ...undone].filter(Boolean).join('\n')
    throw new CniError(error.code, error.message, details, { cause: thrown })
  }
}
