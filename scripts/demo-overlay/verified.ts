/** What was verified, as a table at the end: one line for each claim, with what was seen where it did not hold. */

import { claim } from '../demo/report.ts'

const claims: { readonly what: string; readonly held: boolean; readonly times: number }[] = []

/** Says whether something held, which makes a line of the table. @param times how many things were looked at for it */
export function verify(what: string, held: boolean, instead = '', times = 1): void {
  claim(held, what, instead)
  claims.push({ what, held, times })
}

/** A claim about several things, each of which has to hold. @param wrong those that do not, as words */
export function verifyAll(what: string, times: number, wrong: readonly string[]): void {
  verify(what, wrong.length === 0, wrong.join('; '), times)
}

/** The table. */
export function verifiedTable(): string {
  const width = Math.max(...claims.map(({ what }) => what.length))
  const line = (what: string, checks: string, held: string) => `${what.padEnd(width)}  ${checks.padStart(6)}  ${held}`
  return [
    line('WHAT', 'CHECKS', 'HELD'),
    ...claims.map(({ what, held, times }) => line(what, String(times), held ? 'yes' : 'NO')),
  ].join('\n')
}
