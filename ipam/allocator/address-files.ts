/**
 * The directory of a network: one file per taken address, named as the address, holding its owner. It is the truth, and
 * the Go plugin's own format, so that both work on one directory. All is done under the lock of its file "lock".
 */

import type { IpAddress } from '../../lib/address/address.ts'
import { formatAddress, parseAddress } from '../../lib/address/address.ts'
import { allocate, decodeText, encodeText } from '../../lib/sys/bytes.ts'
import { Errno, SysError } from '../../lib/sys/errno.ts'
import type { FileStatus } from '../../lib/sys/file.ts'
import {
  close,
  FileType,
  listDirectory,
  O,
  openExclusive,
  openIfExists,
  readAt,
  readFileIfExists,
  statusOf,
  statusOfDescriptor,
  unlinkIfExists,
  withDescriptor,
  writeAll,
  writeFile,
} from '../../lib/sys/file.ts'
import type { Owner } from './entry.ts'
import { decodeOwner } from './entry.ts'

/** When a file was written: it tells whether the file is still the one that was seen before. */
export interface WriteTime {
  /** Seconds of the clock, modulo 2^32. */
  readonly seconds: number
  readonly nanoseconds: number
}

export type Entry =
  /** No such file. */
  | { readonly kind: 'absent' }
  /** A file that was not written whole, or that marks when its address was given back: the address is free. */
  | { readonly kind: 'torn'; readonly written: WriteTime }
  /** What is no address file in spite of its name (a directory, a broken link): its address cannot be handed out. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'taken'; readonly owner: Owner; readonly written: WriteTime }

/** Longer than a container id and an interface name; what is longer is no owner that anybody asks for. */
const contentBuffer = allocate(1024)

/** Errors of opening or reading what is not an address file, or is one no more. */
const foreignErrors: readonly number[] = [
  Errno.ELOOP,
  Errno.ENXIO,
  Errno.EACCES,
  Errno.EPERM,
  Errno.EISDIR,
  Errno.EIO,
  Errno.ENODEV,
]

export class AddressFiles {
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  /** Takes an address; undefined when a file of its name is there. @throws SysError; nothing is left then */
  create(address: IpAddress, content: string): WriteTime | undefined {
    const path = this.#path(address)
    const fd = openExclusive(path)
    if (fd === undefined) return undefined
    try {
      writeAll(fd, encodeText(content))
      return writeTime(statusOfDescriptor(fd))
    } catch (error) {
      unlinkIfExists(path)
      throw error
    } finally {
      close(fd)
    }
  }

  read(address: IpAddress): Entry {
    const path = this.#path(address)
    try {
      // Without O_NONBLOCK, opening a FIFO of this name would wait for ever.
      const fd = openIfExists(path, O.RDONLY | O.NONBLOCK)
      return fd === undefined ? { kind: 'absent' } : withDescriptor(fd, readEntry)
    } catch (error) {
      if (error instanceof SysError && foreignErrors.includes(error.errno)) return { kind: 'foreign' }
      throw error
    }
  }

  /** When the address's file was written; undefined where there is none, or none with a content. */
  writtenAt(address: IpAddress): WriteTime | undefined {
    const status = statusOf(this.#path(address), { followLinks: false })
    return status !== undefined && isRegular(status) && status.size > 0 ? writeTime(status) : undefined
  }

  /** When the address was given back with `empty`; undefined for one that is taken, or was never given back. */
  emptiedAt(address: IpAddress): WriteTime | undefined {
    const status = statusOf(this.#path(address), { followLinks: false })
    return status !== undefined && isRegular(status) && status.size === 0 ? writeTime(status) : undefined
  }

  /** Gives an address back and leaves an empty file, whose time says when. @throws SysError */
  empty(address: IpAddress): void {
    const fd = openIfExists(this.#path(address), O.WRONLY | O.TRUNC | O.NONBLOCK)
    if (fd !== undefined) close(fd)
  }

  /** False where there was none. @throws SysError */
  remove(address: IpAddress): boolean {
    return unlinkIfExists(this.#path(address))
  }

  /** The addresses after which files are named; other names are none of ours. */
  list(): IpAddress[] {
    const addresses: IpAddress[] = []
    for (const name of listDirectory(this.directory) ?? []) {
      const address = parseAddress(name)
      if (address !== undefined && formatAddress(address) === name) addresses.push(address)
    }
    return addresses
  }

  /** The address handed out last from a range set; undefined when none is known. */
  cursor(rangeSet: number): IpAddress | undefined {
    try {
      return parseAddress((readFileIfExists(this.#cursorPath(rangeSet)) ?? '').trim())
    } catch (error) {
      // It only spreads addresses over time, so that anything unreadable is as good as nothing.
      if (error instanceof SysError) return undefined
      throw error
    }
  }

  setCursor(rangeSet: number, address: IpAddress): void {
    try {
      writeFile(this.#cursorPath(rangeSet), formatAddress(address))
    } catch (error) {
      if (!(error instanceof SysError)) throw error
    }
  }

  #path(address: IpAddress): string {
    return `${this.directory}/${formatAddress(address)}`
  }

  #cursorPath(rangeSet: number): string {
    return `${this.directory}/last_reserved_ip.${rangeSet}`
  }
}

export function sameTime(a: WriteTime, b: WriteTime): boolean {
  return a.seconds === b.seconds && a.nanoseconds === b.nanoseconds
}

function readEntry(fd: number): Entry {
  const status = statusOfDescriptor(fd)
  if (!isRegular(status)) return { kind: 'foreign' }
  const length = readAt(fd, contentBuffer, 0)
  const owner = decodeOwner(decodeText(contentBuffer.subarray(0, length)))
  const written = writeTime(status)
  return owner === undefined ? { kind: 'torn', written } : { kind: 'taken', owner, written }
}

function isRegular(status: FileStatus): boolean {
  return (status.mode & FileType.MASK) === FileType.REGULAR
}

function writeTime({ modifiedSeconds, modifiedNanoseconds }: FileStatus): WriteTime {
  return { seconds: Number(modifiedSeconds & 0xffffffffn), nanoseconds: modifiedNanoseconds }
}
