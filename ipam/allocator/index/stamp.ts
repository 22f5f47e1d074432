/** In which life of the host, and for which network namespace, an address was handed out. */

import { SysError } from '../../../lib/sys/errno.ts'
import { readFileIfExists, statusOf } from '../../../lib/sys/file.ts'

/** A boot of this host: 128 random bits, of which the first 64 are enough. */
export type BootId = readonly [number, number]

export interface Stamp {
  readonly boot: BootId
  /** The inode number of the network namespace, as in `net:[4026531840]`. */
  readonly namespace: bigint
}

/** Undefined where /proc does not tell: nothing can be said of any boot then. @see random(4), boot_id */
export function currentBoot(): BootId | undefined {
  // "c8383e4e-9234-4432-..."
  const text = readFileIfExists('/proc/sys/kernel/random/boot_id') ?? ''
  const [first, second] = [Number(`0x${text.slice(0, 8)}`), Number(`0x${text.slice(9, 13)}${text.slice(14, 18)}`)]
  return text.length < 18 || Number.isNaN(first + second) ? undefined : [first, second]
}

export function sameBoot(a: BootId, b: BootId): boolean {
  return a[0] === b[0] && a[1] === b[1]
}

/** Undefined when the path leads to no namespace, or to none that may be seen: nothing is said of that attachment. */
export function stampOf(netns: string, boot: BootId | undefined): Stamp | undefined {
  if (netns === '' || boot === undefined) return undefined
  try {
    const status = statusOf(netns)
    const own = statusOf('/proc/self/ns/net')
    const isNamespace =
      status !== undefined && own !== undefined && deviceOf(status.identity) === deviceOf(own.identity)
    return isNamespace ? { boot, namespace: status.inode } : undefined
  } catch (error) {
    if (error instanceof SysError) return undefined
    throw error
  }
}

export function sameStamp(a: Stamp | undefined, b: Stamp | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return sameBoot(a.boot, b.boot) && a.namespace === b.namespace
}

function deviceOf(identity: string): string {
  return identity.slice(0, identity.lastIndexOf(':'))
}
