/** Going into a network namespace, and coming back whatever happens. */

import { libc } from '#libc'
import { encodeText } from '../sys/bytes.ts'
import { check } from '../sys/call.ts'
import { close, O, open } from '../sys/file.ts'
import { CLONE_NEWNET } from './inspect.ts'

/** Of the calling thread: the main thread is not the only one that can run JavaScript. */
export const currentNamespacePath = '/proc/thread-self/ns/net'

/** EX_SOFTWARE of sysexits.h. */
const EXIT_STATUS = 70

/**
 * Runs a synchronous function between a call that takes the thread into another network namespace and the way back.
 *
 * Only synchronous calls see the other namespace: work that a runtime gives to its thread pool stays where the pool was
 * made, and what runs after an `await` runs back at home.
 */
export function runAway<T>(leave: () => void, run: () => T): T {
  const home = open(currentNamespacePath, O.RDONLY)
  try {
    leave()
    try {
      const result = run()
      if (isPromise(result)) throw new TypeError('a function that runs in a network namespace must be synchronous')
      return result
    } finally {
      comeBack(home)
    }
  } finally {
    close(home)
  }
}

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Whatever the process did next would be done to the wrong network: it must not do anything. */
function comeBack(home: number): void {
  if (libc.setns(home, CLONE_NEWNET) >= 0) return
  const message = encodeText(`cnikit: cannot return to the network namespace: errno ${libc.errno()}; giving up\n`)
  libc.write(2, message, message.length)
  libc._exit(EXIT_STATUS)
}

/** Takes the thread into the namespace. @throws SysError */
export function enter(fd: number, path: string): void {
  check(
    () => `enter network namespace ${JSON.stringify(path)}`,
    () => libc.setns(fd, CLONE_NEWNET),
  )
}

/** Runs a synchronous function in a network namespace of its own, which goes when nothing is left that uses it. @throws SysError */
export function runInNewNamespace<T>(inside: () => T): T {
  return runAway(
    () =>
      check(
        () => 'make a network namespace',
        () => libc.unshare(CLONE_NEWNET),
      ),
    inside,
  )
}
