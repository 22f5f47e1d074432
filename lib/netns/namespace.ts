/** Network namespaces by path: opened, checked, entered and left. @see namespaces(7), setns(2) */

import { NetlinkSocket } from '../netlink/socket.ts'
import { close, statusOf, statusOfDescriptor } from '../sys/file.ts'
import { currentNamespacePath, enter, runAway } from './enter.ts'
import { type OtherThanNamespace, openIfNamespace } from './inspect.ts'

/** A path that does not lead to a network namespace. */
export class NotANamespaceError extends Error {
  readonly path: string

  /** @param reason what is there instead: "another kind of namespace" */
  constructor(path: string, reason: string) {
    super(`${JSON.stringify(path)} is no network namespace: ${reason}`)
    this.name = 'NotANamespaceError'
    this.path = path
  }
}

/** An open network namespace: it lives at least as long as it is open. */
export class NetworkNamespace {
  readonly path: string
  #fd: number

  /** Use `openNamespace`, which checks what the descriptor is. */
  constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
  }

  /** For link messages (IFLA_NET_NS_FD). -1 when closed. */
  get fd(): number {
    return this.#fd
  }

  /** "device:inode": equal for two paths exactly when they lead to the same namespace. */
  get identity(): string {
    return statusOfDescriptor(this.fd).identity
  }

  /** What still uses it afterwards fails, and does not get whichever file has the number next. */
  close(): void {
    if (this.#fd >= 0) close(this.#fd)
    this.#fd = -1
  }

  /** Runs a synchronous function inside and comes back whatever happens. @throws SysError when it cannot be entered */
  run<T>(inside: () => T): T {
    return runAway(() => enter(this.fd, this.path), inside)
  }

  /** A netlink socket that works in this namespace, wherever the thread goes. @throws SysError */
  openSocket(protocol: number): NetlinkSocket {
    return this.run(() => new NetlinkSocket(protocol))
  }

  /** Runs a function with a netlink socket that works in this namespace, and closes it whatever happens. */
  withSocket<T>(protocol: number, use: (socket: NetlinkSocket) => T): T {
    const socket = this.openSocket(protocol)
    try {
      return use(socket)
    } finally {
      socket.close()
    }
  }
}

/**
 * Opens a namespace by its path: /run/netns/<name>, /proc/<pid>/ns/net, or wherever one is mounted.
 * @throws NotANamespaceError, also when there is nothing at the path
 * @throws SysError when the path cannot be looked at
 */
export function openNamespace(path: string): NetworkNamespace {
  const opened = openIfNamespace(path)
  if (typeof opened === 'number') return new NetworkNamespace(path, opened)
  throw new NotANamespaceError(path, words[opened])
}

const words: Readonly<Record<OtherThanNamespace, string>> = {
  nothing: 'no such file or directory',
  'no file': 'not a file',
  'no namespace': 'a file on which no namespace is mounted',
  'another kind': 'another kind of namespace',
}

/**
 * As `openNamespace`; undefined for "" and for a namespace that is gone: nothing is at the path, or only the file on
 * which one was mounted.
 * @throws NotANamespaceError for anything else that is no network namespace
 */
export function openNamespaceIfExists(path: string): NetworkNamespace | undefined {
  if (path === '') return undefined
  const opened = openIfNamespace(path)
  if (typeof opened === 'number') return new NetworkNamespace(path, opened)
  if (opened === 'nothing' || opened === 'no namespace') return undefined
  throw new NotANamespaceError(path, words[opened])
}

/** The namespace that the calling thread is in. */
export function openOwnNamespace(): NetworkNamespace {
  return openNamespace(currentNamespacePath)
}

/** The identity of the namespace that the calling thread is in. */
export function ownNamespaceIdentity(): string | undefined {
  return statusOf(currentNamespacePath)?.identity
}
