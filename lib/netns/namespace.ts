/** Network namespaces by path: opened, checked, entered and left. @see namespaces(7), setns(2) */

import { NetlinkSocket } from '../netlink/socket.ts'
import { SysError } from '../sys/errno.ts'
import { close, FileType, O, open, statusOf, statusOfDescriptor } from '../sys/file.ts'
import { currentNamespacePath, enter, runAway } from './enter.ts'
import { notANetworkNamespace } from './inspect.ts'

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

  /** Runs a synchronous function inside and comes back whatever happens; see {@link runAway}. */
  run<T>(inside: () => T): T {
    return runAway(() => enter(this.fd, this.path), inside)
  }

  /** A netlink socket that works in this namespace, wherever the thread goes. */
  openSocket(protocol: number): NetlinkSocket {
    return this.run(() => new NetlinkSocket(protocol))
  }
}

/** @throws NotANamespaceError, also when there is nothing at the path */
export function openNamespace(path: string): NetworkNamespace {
  return openNamespaceIfExists(path) ?? fail(path, 'no such file')
}

/** Undefined for "" and where there is nothing. @throws NotANamespaceError for anything but a network namespace */
export function openNamespaceIfExists(path: string): NetworkNamespace | undefined {
  let fd: number | undefined
  try {
    const status = path === '' ? undefined : statusOf(path)
    if (status === undefined) return undefined
    // Opening anything else could block (a FIFO) or have an effect (a device).
    if ((status.mode & FileType.MASK) !== FileType.REGULAR) fail(path, 'not a namespace')
    fd = open(path, O.RDONLY)
    const otherwise = notANetworkNamespace(fd)
    if (otherwise !== undefined) fail(path, otherwise)
    return new NetworkNamespace(path, fd)
  } catch (error) {
    if (fd !== undefined) close(fd)
    if (error instanceof SysError) fail(path, error.message)
    throw error
  }
}

function fail(path: string, reason: string): never {
  throw new NotANamespaceError(path, reason)
}

/** The identity of the namespace that the process works in. */
export function ownNamespaceIdentity(): string | undefined {
  return statusOf(currentNamespacePath)?.identity
}
