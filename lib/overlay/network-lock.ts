/**
 * A lock for what all containers of a network on this host share. ADD holds it shared while it attaches to a network that
 * is complete; whoever builds, changes or removes the network holds it alone.
 */

import { close, makeDirectories, O, open, statusOf, statusOfDescriptor, unlinkIfExists } from '../sys/file.ts'
import { lockDescriptor } from '../sys/lock.ts'

const LOCK_DIRECTORY = '/run/cnikit/networks'

const lockPath = (name: string): string => `${LOCK_DIRECTORY}/${name}.lock`

/** Takes the lock; closing the descriptor that it returns gives it back. @throws LockTimeoutError after 30 seconds */
export function lockNetwork(name: string, options: { readonly shared?: boolean } = {}): number {
  const path = lockPath(name)
  makeDirectories(LOCK_DIRECTORY)
  for (;;) {
    const fd = open(path, O.RDWR | O.CREAT, 0o600)
    try {
      lockDescriptor(fd, path, options)
      // The last to leave removes the file: then this is a lock that nobody else will ask for.
      if (statusOf(path)?.identity === statusOfDescriptor(fd).identity) return fd
    } catch (error) {
      close(fd)
      throw error
    }
    close(fd)
  }
}

/** Runs a function while nobody else holds the lock, which leaves no file behind. @throws LockTimeoutError */
export function withNetworkLock<T>(name: string, run: () => T): T {
  const lock = lockNetwork(name)
  try {
    return run()
  } finally {
    removeNetworkLock(name)
    close(lock)
  }
}

/** Removes the lock's file. Only for who holds it alone. */
export function removeNetworkLock(name: string): void {
  unlinkIfExists(lockPath(name))
}
