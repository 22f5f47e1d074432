/**
 * The file ".index" in a network's directory: a header page, then the pages of a slot table.
 *
 * It is a cache of the address files, and it knows when it is out of date: after each change of ours the directory's
 * modification time is set to a random number of nanoseconds, which the header names. Whoever else creates or removes
 * a file in the directory, a Go plugin or a person, moves that time, and so does a change of ours that is cut short:
 * the header is written before the time is set. Where a file system keeps no nanoseconds, no index is ever up to date.
 */

import { allocate } from '../../../lib/sys/bytes.ts'
import { SysError } from '../../../lib/sys/errno.ts'
import {
  close,
  O,
  open,
  openIfExists,
  readAt,
  rename,
  setModificationTime,
  statusOf,
  unlinkIfExists,
  withDescriptor,
  writeAt,
} from '../../../lib/sys/file.ts'
import type { Pages } from './pages.ts'
import { checksum, FilePages } from './pages.ts'
import { SlotTable } from './slot-table.ts'
import type { BootId } from './stamp.ts'
import { sameBoot } from './stamp.ts'

/** "CNIK" as its first bytes on a little-endian processor. */
const MAGIC = 0x4b494e43
const VERSION = 1
const headerWords = 16

/** An open index file. */
export interface IndexFile {
  readonly fd: number
  readonly pages: Pages
  readonly table: SlotTable
  /** Whether the table says what the address files say. If not, it still knows much of what they said. */
  readonly fresh: boolean
  /** Whether it was written since the host was started: no address file has lost its content since. */
  readonly ofThisBoot: boolean
}

function pathOf(directory: string): string {
  return `${directory}/.index`
}

/** Opens the index; undefined when there is none, or none that can be read. The caller closes `fd`. */
export function openIndexFile(directory: string, boot: BootId | undefined): IndexFile | undefined {
  let fd: number | undefined
  try {
    fd = openIfExists(pathOf(directory), O.RDWR | O.NONBLOCK)
    const file = fd === undefined ? undefined : readIndexFile(fd, directory, boot)
    if (fd !== undefined && file === undefined) close(fd)
    return file
  } catch (error) {
    if (fd !== undefined) close(fd)
    if (error instanceof SysError) return undefined
    throw error
  }
}

function readIndexFile(fd: number, directory: string, boot: BootId | undefined): IndexFile | undefined {
  const bytes = allocate(headerWords * 4)
  const header = new Uint32Array(bytes.buffer)
  const length = readAt(fd, bytes, 0)
  const [sum, magic, version, pageCount = 0, used = 0, boot0 = 0, boot1 = 0] = header
  if (length < bytes.length || magic !== MAGIC || version !== VERSION || sum !== checksum(header, 0)) return undefined
  const modified = statusOf(directory)
  const ofThisBoot = boot !== undefined && sameBoot([boot0, boot1], boot)
  const fresh =
    ofThisBoot &&
    modified?.modifiedSeconds === new DataView(bytes.buffer).getBigInt64(secondsOffset, true) &&
    modified.modifiedNanoseconds === header[nanosecondsWord]
  const pages = new FilePages(fd)
  return { fd, pages, table: new SlotTable(pages, pageCount, used), fresh, ofThisBoot }
}

const secondsOffset = 8 * 4
const nanosecondsWord = 10

/**
 * Saves a table, in place if it came from the file. A failure leaves a stale index and is no error: a full disk must not stop
 * anybody from giving an address back.
 */
export function saveIndexFile(directory: string, file: IndexFile | undefined, table: SlotTable, boot: BootId): void {
  const seconds = BigInt(Math.floor(Date.now() / 1000))
  const nanoseconds = Math.floor(Math.random() * 1e9)
  const header = encodeHeader(table, boot, seconds, nanoseconds)
  const path = pathOf(directory)
  try {
    if (file !== undefined && table.pages === file.pages) {
      table.pages.write(file.fd)
      writeAt(file.fd, header, 0)
    } else {
      const temporary = `${path}.new`
      try {
        withDescriptor(open(temporary, O.WRONLY | O.CREAT | O.TRUNC), fd => {
          table.pages.write(fd)
          writeAt(fd, header, 0)
        })
        rename(temporary, path)
      } catch (error) {
        unlinkIfExists(temporary)
        throw error
      }
    }
    setModificationTime(directory, seconds, nanoseconds)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
  }
}

function encodeHeader(table: SlotTable, boot: BootId, seconds: bigint, nanoseconds: number): Uint8Array {
  const bytes = allocate(headerWords * 4)
  const header = new Uint32Array(bytes.buffer)
  header.set([0, MAGIC, VERSION, table.pageCount, table.used, boot[0], boot[1]])
  new DataView(bytes.buffer).setBigInt64(secondsOffset, seconds, true)
  header[nanosecondsWord] = nanoseconds
  header[0] = checksum(header, 0)
  return bytes
}
