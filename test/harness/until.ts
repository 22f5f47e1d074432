/** Waiting for what other processes bring about. */

import { setTimeout as pause } from 'node:timers/promises'

/** Waits until something holds, half a minute at most. It may throw as long as it does not. */
export async function until(what: string, holds: () => boolean, seconds = 30): Promise<void> {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    let failure: unknown
    try {
      if (holds()) return
    } catch (error) {
      failure = error
    }
    if (Date.now() > deadline) throw new Error(`after ${seconds} s still not: ${what}`, { cause: failure })
    await pause(50)
  }
}
