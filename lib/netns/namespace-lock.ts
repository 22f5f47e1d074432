/** A lock for each host, on its network namespace: no file to keep, and one for each of hosts that share a /run. */

import { close, O, open } from '../sys/file.ts'
import { lockDescriptor } from '../sys/lock.ts'

const OWN_NAMESPACE = '/proc/self/ns/net'
/** How long to wait until nobody else holds it. */
const TIMEOUT_MS = 5_000

/** Holds the lock together with others until the descriptor that it returns is closed. @throws LockTimeoutError */
export function shareNamespaceLock(): number {
  return lockNamespace({ shared: true })
}

/** Runs a function that may remove what all share: meanwhile nobody else holds the lock. @throws LockTimeoutError */
export function withNamespaceLock<T>(run: () => T): T {
  const lock = lockNamespace({ timeoutMs: TIMEOUT_MS })
  try {
    return run()
  } finally {
    close(lock)
  }
}

function lockNamespace(options: { shared?: boolean; timeoutMs?: number }): number {
  const fd = open(OWN_NAMESPACE, O.RDONLY)
  try {
    lockDescriptor(fd, OWN_NAMESPACE, options)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}
