/** Signals held back while a change is under way, so that it is finished or undone, never abandoned half way. */

import { libc } from '#libc'
import { allocate } from './bytes.ts'

const SIG_BLOCK = 0
/** Numbers of signal(7), the same on x86-64 and arm64. */
const terminating = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const

/** sigset_t: 1,024 bits; glibc and musl agree. */
const SIGNAL_SET_BYTES = 128

/**
 * Blocks SIGHUP, SIGINT and SIGTERM for the rest of the process. To be called before anything can start a thread:
 * threads inherit the mask, and a signal goes to any thread that does not block it.
 */
export function holdTerminatingSignals(): void {
  const set = allocate(SIGNAL_SET_BYTES)
  for (const signal of Object.values(terminating))
    set[(signal - 1) >> 3] = (set[(signal - 1) >> 3] ?? 0) | (1 << ((signal - 1) & 7))
  libc.sigprocmask(SIG_BLOCK, set, null)
}

/** The name of a terminating signal that has arrived and waits, or undefined. */
export function pendingSignal(): keyof typeof terminating | undefined {
  const set = allocate(SIGNAL_SET_BYTES)
  libc.sigpending(set)
  for (const [name, signal] of Object.entries(terminating)) {
    if ((set[(signal - 1) >> 3] ?? 0) & (1 << ((signal - 1) & 7))) return name as keyof typeof terminating
  }
  return undefined
}
