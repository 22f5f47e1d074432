/** Signals held back while a change is under way, so that it is finished or undone, never abandoned half way. */

import { libc } from '#libc'
import { allocate } from './bytes.ts'

const SIG_BLOCK = 0
/** A handler's address in signal(2): the kernel drops the signal. */
const SIG_IGN = 1
/** Numbers of signal(7), the same on x86-64 and arm64. */
const terminating = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const

/** sigset_t: 1,024 bits; glibc and musl agree. */
const SIGNAL_SET_BYTES = 128

/**
 * Keeps SIGHUP, SIGINT and SIGTERM from ending the process, for the rest of its life; children are not affected.
 *
 * They are blocked, so that they stay pending and can be asked for. A thread that runs already does not block them and
 * would be handed the signal: Bun starts an executable with one thread, Node with ten. So they are ignored as well,
 * and the worst that happens is that the work is finished instead of undone.
 */
export function holdTerminatingSignals(): void {
  const set = allocate(SIGNAL_SET_BYTES)
  for (const signal of Object.values(terminating))
    set[(signal - 1) >> 3] = (set[(signal - 1) >> 3] ?? 0) | (1 << ((signal - 1) & 7))
  libc.sigprocmask(SIG_BLOCK, set, null)
  for (const signal of Object.values(terminating)) libc.signal(signal, SIG_IGN)
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
