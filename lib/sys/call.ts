/** Turning libc's results into values or errors. */

import { libc } from '#libc'
import { Errno, SysError } from './errno.ts'

/** Runs a call until it is not interrupted; a failure throws. `operation` is only evaluated for the error. */
export function check(operation: () => string, call: () => number): number {
  for (;;) {
    const result = call()
    if (result >= 0) return result
    const errno = libc.errno()
    if (errno !== Errno.EINTR) throw new SysError(operation(), errno)
  }
}

/** As `check`, but the listed errno values are an expected answer: returns minus the errno. */
export function attempt(expected: readonly number[], operation: () => string, call: () => number): number {
  for (;;) {
    const result = call()
    if (result >= 0) return result
    const errno = libc.errno()
    if (expected.includes(errno)) return -errno
    if (errno !== Errno.EINTR) throw new SysError(operation(), errno)
  }
}
