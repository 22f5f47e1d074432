/** Network namespaces by path: opened, checked, entered and left. @see namespaces(7), setns(2) */

import { libc } from '#libc'
import { NetlinkSocket } from '../netlink/socket.ts'
import { check } from '../sys/call.ts'
import { SysError } from '../sys/errno.ts'
import { close, FileType, fileSystemType, O, open, statusOf, statusOfDescriptor } from '../sys/file.ts'

/** linux/magic.h */
const NSFS_MAGIC = 0x6e736673
/** linux/nsfs.h: _IO(0xb7, 3), which answers with the namespace's CLONE_* flag. */
const NS_GET_NSTYPE = 0xb703
/** linux/sched.h */
const CLONE_NEWNET = 0x40000000

const OWN_NAMESPACE = '/proc/self/ns/net'

/** A path that does not lead to a network namespace. */
export class NotANamespaceError extends Error {
  readonly path: string

  constructor(path: string, reason: string) {
    super(`${JSON.stringify(path)} is no network namespace: ${reason}`)
    this.name = 'NotANamespaceError'
    this.path = path
  }
}

/** An open network namespace. */
export class NetworkNamespace {
  readonly path: string
  readonly fd: number

  constructor(path: string, fd: number) {
    this.path = path
    this.fd = fd
  }

  /** "device:inode": equal for two paths exactly when they lead to the same namespace. */
  get identity(): string {
    return statusOfDescriptor(this.fd).identity
  }

  close(): void {
    close(this.fd)
  }

  /**
   * Runs a function inside and comes back whatever happens. Synchronous calls only: what goes through the runtime's
   * threads (promises, fetch) sees another namespace. When there is no way back the process ends: going on in the
   * wrong namespace would change the container instead of the host.
   */
  run<T>(inside: () => T): T {
    const own = open(OWN_NAMESPACE, O.RDONLY)
    try {
      check(
        () => `enter network namespace ${JSON.stringify(this.path)}`,
        () => libc.setns(this.fd, CLONE_NEWNET),
      )
      try {
        return inside()
      } finally {
        comeBack(own)
      }
    } finally {
      close(own)
    }
  }

  /** A netlink socket that works in this namespace, wherever the thread goes. */
  openSocket(protocol: number): NetlinkSocket {
    return this.run(() => new NetlinkSocket(protocol))
  }
}

function comeBack(own: number): void {
  try {
    check(
      () => 'leave network namespace',
      () => libc.setns(own, CLONE_NEWNET),
    )
  } catch (error) {
    process.stderr.write(`cnikit: cannot come back from a container's network namespace: ${String(error)}\n`)
    libc._exit(70)
  }
}

/** @throws NotANamespaceError, also when there is nothing at the path */
export function openNamespace(path: string): NetworkNamespace {
  return openNamespaceIfExists(path) ?? fail(path, 'no such file')
}

/** Undefined for "" and where there is nothing. @throws NotANamespaceError for anything but a network namespace */
export function openNamespaceIfExists(path: string): NetworkNamespace | undefined {
  const status = path === '' ? undefined : statusOf(path)
  if (status === undefined) return undefined
  // Opening anything else could block (a FIFO) or have an effect (a device).
  if ((status.mode & FileType.MASK) !== FileType.REGULAR) fail(path, 'not a namespace file')
  const fd = open(path, O.RDONLY)
  try {
    if (fileSystemType(fd) !== NSFS_MAGIC) fail(path, 'not a namespace file')
    if (libc.ioctl(fd, NS_GET_NSTYPE, null) !== CLONE_NEWNET) fail(path, 'another kind of namespace')
    return new NetworkNamespace(path, fd)
  } catch (error) {
    close(fd)
    if (error instanceof SysError) fail(path, error.message)
    throw error
  }
}

function fail(path: string, reason: string): never {
  throw new NotANamespaceError(path, reason)
}

/** The identity of the namespace that the process works in. */
export function ownNamespaceIdentity(): string | undefined {
  return statusOf(OWN_NAMESPACE)?.identity
}
