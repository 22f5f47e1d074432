/** Telling a network namespace from other files. */

import { libc } from '#libc'
import { check } from '../sys/call.ts'
import { fileSystemType } from '../sys/file.ts'

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673
/** linux/nsfs.h: _IO(0xb7, 3), which answers with the namespace's CLONE_* flag. */
const NS_GET_NSTYPE = 0xb703
/** linux/sched.h */
export const CLONE_NEWNET = 0x40000000

/** What kind of namespace an open file is, if any. @throws SysError */
export function inspectNamespace(fd: number): 'network' | 'other' | 'none' {
  if (fileSystemType(fd) !== NSFS_MAGIC) return 'none'
  const type = check(
    () => `ask the kind of namespace of descriptor ${fd}`,
    () => libc.ioctl(fd, NS_GET_NSTYPE, null),
  )
  return type === CLONE_NEWNET ? 'network' : 'other'
}
