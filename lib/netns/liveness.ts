/**
 * Which network namespaces still exist. A namespace is held by processes and threads in it, by mounts (`ip netns add`),
 * and by open descriptors; what none of these leads to, nobody can enter again.
 */

import { Errno, SysError } from '../sys/errno.ts'
import { listDirectory, readFileIfExists, readLink, statusOf } from '../sys/file.ts'

/**
 * Inode numbers of the network namespaces that anything on the host refers to; undefined when something could not be read,
 * so that any may exist. Takes some milliseconds: the time of a walk through /proc.
 */
export function livingNamespaces(): ReadonlySet<bigint> | undefined {
  const found = new Set<bigint>()
  try {
    // Twice: a reference may be handed from a process not seen yet to one seen already.
    scan(found)
    scan(found)
    return found
  } catch (error) {
    if (error instanceof SysError) return undefined
    throw error
  }
}

function scan(found: Set<bigint>): void {
  // Without the right to look into it, other processes may be hidden altogether (mount option hidepid).
  readLink('/proc/1/ns/net')
  const mountNamespaces = new Set<string>()
  for (const pid of numbersIn('/proc')) {
    const process = `/proc/${pid}`
    const mounts = whileExists(process, () => readLink(`${process}/ns/mnt`))
    if (mounts !== undefined && !mountNamespaces.has(mounts)) {
      mountNamespaces.add(mounts)
      const table = whileExists(process, () => readFileIfExists(`${process}/mountinfo`)) ?? ''
      for (const [, inode = ''] of table.matchAll(/ net:\[([0-9]+)\] /g)) found.add(BigInt(inode))
    }
    // Threads may enter namespaces on their own. Hardly any has open files of its own (unshare(CLONE_FILES)).
    for (const thread of whileExists(process, () => numbersIn(`${process}/task`)) ?? [])
      note(found, `${process}/task/${thread}`, 'ns/net')
    for (const descriptor of whileExists(process, () => numbersIn(`${process}/fd`)) ?? [])
      note(found, process, `fd/${descriptor}`)
  }
}

function note(found: Set<bigint>, process: string, link: string): void {
  const target = whileExists(process, () => readLink(`${process}/${link}`))
  const inode = /^net:\[([0-9]+)\]$/.exec(target ?? '')?.[1]
  if (inode !== undefined) found.add(BigInt(inode))
}

function numbersIn(path: string): string[] {
  return (listDirectory(path) ?? []).filter(name => /^[0-9]+$/.test(name))
}

/** Undefined when the process or thread has ended meanwhile, for which /proc has several errors, EACCES among them. */
function whileExists<T>(process: string, read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    // mountinfo of a process that has ended and waits for its parent.
    if (error.errno === Errno.ESRCH || error.errno === Errno.EINVAL) return undefined
    if (error.errno === Errno.EACCES && statusOf(process) === undefined) return undefined
    throw error
  }
}
