/** Advisory file locks (flock(2)), which the kernel drops when their holder dies. */

import { libc } from '#libc'
import { attempt } from './call.ts'
import { Errno } from './errno.ts'
import { O, open, withDescriptor } from './file.ts'

const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4

/** The lock could not be had in time. */
export class LockTimeoutError extends Error {
  readonly path: string

  constructor(path: string, timeoutMs: number) {
    super(`lock ${JSON.stringify(path)} is held by another process for more than ${timeoutMs} ms`)
    this.name = 'LockTimeoutError'
    this.path = path
  }
}

export interface LockOptions {
  /** Several may hold it at once, as long as nobody holds it alone. */
  readonly shared?: boolean
  /** Default 30,000. */
  readonly timeoutMs?: number
}

/**
 * Locks an open file; closing the descriptor unlocks it.
 *
 * The lock is polled and not waited for: a blocked flock could only be ended by a signal, and signals are held back
 * while a plugin runs. Holders keep it for a fraction of a millisecond, so the first waits are short.
 *
 * @param path for the error
 * @throws LockTimeoutError
 */
export function lockDescriptor(fd: number, path: string, options: LockOptions = {}): void {
  const timeoutMs = options.timeoutMs ?? 30_000
  const operation = (options.shared ? LOCK_SH : LOCK_EX) | LOCK_NB
  const deadline = Date.now() + timeoutMs
  for (let waitMicroseconds = 100; ; waitMicroseconds = Math.min(waitMicroseconds * 2, 2_000)) {
    const result = attempt(
      [Errno.EAGAIN],
      () => `lock ${JSON.stringify(path)}`,
      () => libc.flock(fd, operation),
    )
    if (result >= 0) return
    if (Date.now() >= deadline) throw new LockTimeoutError(path, timeoutMs)
    libc.usleep(waitMicroseconds)
  }
}

/** Runs a function under the lock of a file, which is created if missing. @throws LockTimeoutError */
export function withFileLock<T>(path: string, run: () => T, options: LockOptions = {}): T {
  return withDescriptor(open(path, O.RDWR | O.CREAT, 0o600), fd => {
    lockDescriptor(fd, path, options)
    return run()
  })
}
