/** Sysctls of the container's network namespace: found before anything is changed, written, and compared. */

import { formatAddress, parseAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import { type NetworkNamespace, readSysctl, writeSysctl } from '../../lib/netns/index.ts'
import { Errno, SysError } from '../../lib/sys/errno.ts'
import { FileType, statusOf } from '../../lib/sys/file.ts'
import type { SysctlSetting } from './sysctl-key.ts'

export interface FoundSysctl {
  /** Path below /proc/sys. */
  readonly name: string
  readonly value: string
  /** As it is before ADD; undefined for one that cannot be read. */
  readonly previous: string | undefined
}

/** Any of the bits by which a file may be read or written. */
const READABLE = 0o444
const WRITABLE = 0o222

/** Looks for all of them in the namespace. @throws CniError code 7 for one that is not there or cannot be written */
export function findSysctls(namespace: NetworkNamespace, settings: readonly SysctlSetting[]): FoundSysctl[] {
  return namespace.run(() =>
    settings.map(({ key, names, value }) => {
      const file = findFile(names)
      if (file === undefined) {
        throw new CniError(
          ErrorCode.invalidNetworkConfig,
          `sysctl ${JSON.stringify(key)} does not exist in the container: there is no file /proc/sys/${names[0]}`,
          'correct the name; some sysctls appear when a module is loaded (nf_conntrack), or with the host alone',
        )
      }
      if ((file.mode & WRITABLE) === 0) {
        throw new CniError(
          ErrorCode.invalidNetworkConfig,
          `sysctl ${JSON.stringify(key)} can only be read`,
          'remove it from "sysctl"',
        )
      }
      return { name: file.name, value, previous: presentValue(file) }
    }),
  )
}

interface SysctlFile {
  readonly name: string
  /** Permissions. */
  readonly mode: number
}

/** Undefined for one that can only be written (net.ipv4.route.flush), or has no value yet (stable_secret: EIO). */
function presentValue({ name, mode }: SysctlFile): string | undefined {
  if ((mode & READABLE) === 0) return undefined
  try {
    return readSysctl(name)
  } catch (error) {
    if (error instanceof SysError) return undefined
    throw error
  }
}

/** The first of the names that is a file. */
function findFile(names: readonly string[]): SysctlFile | undefined {
  for (const name of names) {
    const status = statusOf(`/proc/sys/${name}`)
    if (status !== undefined && (status.mode & FileType.MASK) === FileType.REGULAR) return { name, mode: status.mode }
  }
  return undefined
}

/** Writes them, each a step. @throws CniError code 7 for a value that the kernel refuses */
export function setSysctls(
  transaction: Transaction,
  namespace: NetworkNamespace,
  sysctls: readonly FoundSysctl[],
): void {
  if (sysctls.length === 0) return
  namespace.run(() => {
    for (const { name, value, previous } of sysctls) {
      transaction.step(
        `set sysctl ${name}`,
        () => write(name, value),
        previous === undefined ? undefined : () => namespace.run(() => write(name, previous)),
      )
    }
  })
}

/** The kernel's reasons to say that a value makes no sense. */
const wrongValue: readonly number[] = [Errno.EINVAL, Errno.ERANGE, Errno.ENOENT]

function write(name: string, value: string): void {
  try {
    // With the newline, an empty value is written too: it clears a list.
    writeSysctl(name, `${value}\n`)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    const isWrong = wrongValue.includes(error.errno)
    throw new CniError(
      isWrong ? ErrorCode.invalidNetworkConfig : ErrorCode.kernel,
      `cannot set sysctl ${name} to ${JSON.stringify(value)}: ${error.message}`,
      isWrong ? 'correct the value in "sysctl"' : undefined,
      { cause: error },
    )
  }
}

/** The first that has another value than it should, in words; undefined when there is none. */
export function differingSysctl(namespace: NetworkNamespace, settings: readonly SysctlSetting[]): string | undefined {
  return namespace.run(() => {
    for (const { key, names, value } of settings) {
      const file = findFile(names)
      if (file === undefined) return `sysctl ${key} is gone`
      const present = presentValue(file)
      if (present !== undefined && !sameValue(present, value)) {
        return `sysctl ${file.name} is ${JSON.stringify(present)}, configured is ${JSON.stringify(value)}`
      }
    }
    return undefined
  })
}

/** Whether the kernel would show one value for the other: it writes tabs between numbers, and numbers in its own way. */
export function sameValue(present: string, wanted: string): boolean {
  const [shown, given] = [wordsOf(present), wordsOf(wanted)]
  return shown.length === given.length && shown.every((word, index) => word === given[index])
}

function wordsOf(value: string): string[] {
  return value
    .split(/\s+/)
    .filter(word => word !== '')
    .map(wordAsShown)
}

function wordAsShown(word: string): string {
  if (/^[0-9,-]*,[0-9,-]*$/.test(word)) return rangesOf(word)
  const address = word.includes(':') ? parseAddress(word) : undefined
  return address === undefined ? numberOf(word) : formatAddress(address)
}

/** In decimal digits. As in C, "0x1f" and "037" are 31. */
function numberOf(word: string): string {
  if (/^-?0[0-7]+$/.test(word)) return String(Number.parseInt(word, 8))
  return /^-?[0-9]+$|^0[xX][0-9a-fA-F]+$/.test(word) ? String(Number(word)) : word
}

/** A list of numbers in order, and neighbours as a range: "1,2,3,8" is "1-3,8", as in net.ipv4.ip_local_reserved_ports. */
function rangesOf(list: string): string {
  const ranges: [number, number][] = []
  const given = list.split(',').map(part => part.split('-').map(Number))
  for (const [from = 0, to = from] of given.toSorted(([a = 0], [b = 0]) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to)
    else ranges.push([from, to])
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',')
}
