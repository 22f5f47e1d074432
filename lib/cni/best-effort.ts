/** Clearing up that goes on after a failure. */

import { CniError } from './errors.ts'
import { toCniError } from './failure.ts'

/** Runs every function, and throws at the end if any failed: the first error, with the others in its details. */
export function runAll(functions: readonly (() => unknown)[]): void {
  const errors: CniError[] = []
  for (const run of functions) {
    try {
      run()
    } catch (error) {
      errors.push(toCniError(error))
    }
  }
  const [first, ...others] = errors
  if (first === undefined) return
  const details = [first.details, ...others.map(error => `also: ${error.message}`)].filter(Boolean).join('\n')
  throw new CniError(first.code, first.message, details || undefined, { cause: first })
}
