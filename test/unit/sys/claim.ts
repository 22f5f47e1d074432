/** Claims that a program checks about itself, for programs that run where tap does not. */

export interface Outcome {
  readonly claim: string
  /** Why it does not hold; absent when it does. */
  readonly failure?: string
}

const outcomes: Outcome[] = []

/** Runs a check that throws when the claim does not hold. */
export function claim(text: string, check: () => void): void {
  try {
    check()
    outcomes.push({ claim: text })
  } catch (error) {
    outcomes.push({ claim: text, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
}

/** What has become of the claims, as JSON. */
export function report(): string {
  return JSON.stringify(outcomes)
}
