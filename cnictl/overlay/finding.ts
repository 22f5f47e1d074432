/** What is out of order, how grave it is, and what mends it. */

export type Gravity = 'error' | 'warning' | 'hint'

export interface Finding {
  /** `error`: containers do not reach each other, or strangers reach them. `hint`: worth knowing when something is slow. */
  readonly gravity: Gravity
  /** The network that it is about; absent for what is the whole host's. */
  readonly network?: string
  readonly what: string
  /** A command, or in words what to do. */
  readonly remedy: string
}

const order: readonly Gravity[] = ['error', 'warning', 'hint']

/** The gravest first; those of one gravity as they were found. */
export function byGravity(findings: readonly Finding[]): Finding[] {
  return findings.toSorted((a, b) => order.indexOf(a.gravity) - order.indexOf(b.gravity))
}

/** Whether one of them is an error. */
export function hasError(findings: readonly Finding[]): boolean {
  return findings.some(({ gravity }) => gravity === 'error')
}

/** Two lines each: what is out of order, and what mends it. */
export function findingLines(findings: readonly Finding[]): string[] {
  return byGravity(findings).flatMap(({ gravity, network, what, remedy }) => [
    `${gravity}: ${network === undefined ? '' : `network ${network}: `}${what}`,
    `  ${remedy}`,
  ])
}

/** How many of a long list are shown. */
const SHOWN = 5

/** "a, b, c", and of a long list how many more. */
export function shortList(texts: readonly string[]): string {
  const more = texts.length - SHOWN
  return more <= 0 ? texts.join(', ') : `${texts.slice(0, SHOWN).join(', ')} and ${more} more`
}
