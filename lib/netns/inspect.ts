/** Telling a network namespace from other files. */

import { libc } from '#libc'
import { check } from '../sys/call.ts'
import { close, FileType, fileSystemType, O, open, statusOf } from '../sys/file.ts'

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673
/** linux/nsfs.h: _IO(0xb7, 3), which answers with the namespace's CLONE_* flag. */
const NS_GET_NSTYPE = 0xb703
/** linux/sched.h */
export const CLONE_NEWNET = 0x40000000

/** What a path leads to instead of a network namespace. */
export type OtherThanNamespace = 'nothing' | 'no file' | 'no namespace' | 'another kind'

/** An open descriptor of the network namespace at a path, or what is there instead. @throws SysError */
export function openIfNamespace(path: string): number | OtherThanNamespace {
  const status = statusOf(path)
  if (status === undefined) return 'nothing'
  // Opening anything else could block (a FIFO) or have an effect (a device).
  if ((status.mode & FileType.MASK) !== FileType.REGULAR) return 'no file'
  const fd = open(path, O.RDONLY)
  try {
    const otherwise = otherThanNamespace(fd)
    if (otherwise === undefined) return fd
    close(fd)
    return otherwise
  } catch (error) {
    close(fd)
    throw error
  }
}

function otherThanNamespace(fd: number): OtherThanNamespace | undefined {
  if (fileSystemType(fd) !== NSFS_MAGIC) return 'no namespace'
  const type = check(
    () => `ask the kind of namespace of descriptor ${fd}`,
    () => libc.ioctl(fd, NS_GET_NSTYPE, null),
  )
  return type === CLONE_NEWNET ? undefined : 'another kind'
}
