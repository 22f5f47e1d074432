/** Clocks of the kernel. */

import { libc } from '#libc'
import { allocate } from './bytes.ts'
import { check } from './call.ts'

/** linux/time.h */
const CLOCK_BOOTTIME = 7

/** Seconds since the host was started, its sleep included: nobody can set it. @see clock_gettime(2) `CLOCK_BOOTTIME` */
export function bootTimeSeconds(): number {
  // struct timespec
  const time = allocate(16)
  check(
    () => 'read CLOCK_BOOTTIME',
    () => libc.clock_gettime(CLOCK_BOOTTIME, time),
  )
  const view = new DataView(time.buffer)
  return Number(view.getBigInt64(0, true)) + Number(view.getBigInt64(8, true)) / 1e9
}
