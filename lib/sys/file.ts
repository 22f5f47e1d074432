/**
 * Files, synchronously and through libc alone: importing node:fs costs an executable a millisecond.
 * Every function retries EINTR and throws {@link SysError}.
 */

import { libc } from '#libc'
import { allocate, cString, decodeText, encodeText } from './bytes.ts'
import { attempt, check } from './call.ts'
import { Errno } from './errno.ts'

/** Flags of open(2), asm-generic/fcntl.h (x86-64 and arm64 agree on those used here, O_DIRECTORY apart). */
export const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  /** Opening a FIFO does not wait for its other end. */
  NONBLOCK: 0o4000,
  CLOEXEC: 0o2000000,
} as const

const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
const STATX_BASIC_STATS = 0x7ff
const UTIME_OMIT = (1n << 30n) - 2n

/** Opens a path, always close-on-exec. @param mode permissions of a file made by O.CREAT. */
export function open(path: string, flags: number, mode = 0o600): number {
  const name = cString(path)
  return check(
    () => `open ${JSON.stringify(path)}`,
    () => libc.open(name, flags | O.CLOEXEC, mode),
  )
}

/** As `open`, but undefined where the path does not exist (ENOENT, ENOTDIR). */
export function openIfExists(path: string, flags: number): number | undefined {
  const name = cString(path)
  const fd = attempt(
    [Errno.ENOENT, Errno.ENOTDIR],
    () => `open ${JSON.stringify(path)}`,
    () => libc.open(name, flags | O.CLOEXEC, 0),
  )
  return fd < 0 ? undefined : fd
}

/** Creates a file that must not exist yet; undefined when it does. The descriptor is open for writing. */
export function openExclusive(path: string, mode = 0o600): number | undefined {
  const name = cString(path)
  const fd = attempt(
    [Errno.EEXIST],
    () => `create ${JSON.stringify(path)}`,
    () => libc.open(name, O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, mode),
  )
  return fd < 0 ? undefined : fd
}

/** Closes a descriptor. EINTR is not retried: Linux has closed it already. */
export function close(fd: number): void {
  libc.close(fd)
}

/** Runs a function with an open descriptor and closes it whatever happens. */
export function withDescriptor<T>(fd: number, use: (fd: number) => T): T {
  try {
    return use(fd)
  } finally {
    close(fd)
  }
}

/** Reads until the end of the file, pipe or socket. */
export function readAll(fd: number): Uint8Array {
  let buffer = allocate(4096)
  let length = 0
  for (;;) {
    if (length === buffer.length) {
      const larger = allocate(buffer.length * 4)
      larger.set(buffer)
      buffer = larger
    }
    const rest = buffer.subarray(length)
    const count = check(
      () => `read descriptor ${fd}`,
      () => libc.read(fd, rest, rest.length),
    )
    if (count === 0) return buffer.subarray(0, length)
    length += count
  }
}

/** Writes all the bytes, however many calls it takes. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  let rest = bytes
  while (rest.length > 0) {
    const part = rest
    rest = rest.subarray(
      check(
        () => `write descriptor ${fd}`,
        () => libc.write(fd, part, part.length),
      ),
    )
  }
}

/** Reads once, at a position; a result shorter than the buffer means the end of the file. */
export function readAt(fd: number, bytes: Uint8Array, offset: number): number {
  return check(
    () => `read descriptor ${fd} at ${offset}`,
    () => libc.pread(fd, bytes, bytes.length, offset),
  )
}

/** Writes all the bytes at a position. */
export function writeAt(fd: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length; ) {
    const part = done === 0 ? bytes : bytes.subarray(done)
    done += check(
      () => `write descriptor ${fd} at ${offset + done}`,
      () => libc.pwrite(fd, part, part.length, offset + done),
    )
  }
}

/** A whole file as text. */
export function readFile(path: string): string {
  return withDescriptor(open(path, O.RDONLY), fd => decodeText(readAll(fd)))
}

/** A whole file as text, or undefined where it does not exist. */
export function readFileIfExists(path: string): string | undefined {
  const fd = openIfExists(path, O.RDONLY)
  return fd === undefined ? undefined : withDescriptor(fd, () => decodeText(readAll(fd)))
}

/** Writes a file in place (created or cut first): for /proc and for caches. See `replaceFile` for anything to be kept. */
export function writeFile(path: string, text: string, mode = 0o600): void {
  withDescriptor(open(path, O.WRONLY | O.CREAT | O.TRUNC, mode), fd => writeAll(fd, encodeText(text)))
}

/** Writes a file so that a reader sees the old content or the new one: a temporary name beside it, then rename. */
export function replaceFile(path: string, text: string, mode = 0o600): void {
  const temporary = `${path}.${libc.getpid()}.tmp`
  try {
    writeFile(temporary, text, mode)
    rename(temporary, path)
  } catch (error) {
    unlinkIfExists(temporary)
    throw error
  }
}

export function rename(from: string, to: string): void {
  const [source, target] = [cString(from), cString(to)]
  check(
    () => `rename ${JSON.stringify(from)} to ${JSON.stringify(to)}`,
    () => libc.rename(source, target),
  )
}

/** Removes a file; false where there was none. */
export function unlinkIfExists(path: string): boolean {
  const name = cString(path)
  return (
    attempt(
      [Errno.ENOENT, Errno.ENOTDIR],
      () => `unlink ${JSON.stringify(path)}`,
      () => libc.unlink(name),
    ) >= 0
  )
}

/** Removes an empty directory; false where there was none. */
export function removeDirectoryIfExists(path: string): boolean {
  const name = cString(path)
  return (
    attempt(
      [Errno.ENOENT],
      () => `rmdir ${JSON.stringify(path)}`,
      () => libc.rmdir(name),
    ) >= 0
  )
}

/** Makes a directory and those above it; one that exists is left as it is. */
export function makeDirectories(path: string, mode = 0o755): void {
  const name = cString(path)
  const made = attempt(
    [Errno.EEXIST, Errno.ENOENT],
    () => `mkdir ${JSON.stringify(path)}`,
    () => libc.mkdir(name, mode),
  )
  if (made !== -Errno.ENOENT) return
  makeDirectories(path.slice(0, path.lastIndexOf('/')) || '/', mode)
  attempt(
    [Errno.EEXIST],
    () => `mkdir ${JSON.stringify(path)}`,
    () => libc.mkdir(name, mode),
  )
}

/** Names in a directory, in the kernel's order, without "." and ".."; undefined where there is none. */
export function listDirectory(path: string): string[] | undefined {
  const fd = openIfExists(path, O.RDONLY)
  if (fd === undefined) return undefined
  return withDescriptor(fd, () => {
    const names: string[] = []
    const buffer = allocate(1 << 16)
    const view = new DataView(buffer.buffer)
    for (;;) {
      const length = check(
        () => `read directory ${JSON.stringify(path)}`,
        () => libc.getdents64(fd, buffer, buffer.length),
      )
      if (length === 0) return names
      // struct linux_dirent64: u64 inode, s64 offset, u16 record length, u8 type, NUL-terminated name.
      for (let offset = 0; offset < length; ) {
        const recordLength = view.getUint16(offset + 16, true)
        const start = offset + 19
        const name = decodeText(buffer.subarray(start, buffer.indexOf(0, start)))
        if (name !== '.' && name !== '..') names.push(name)
        offset += recordLength
      }
    }
  })
}

/** What statx(2) tells. */
export interface FileStatus {
  /** "device:inode", equal for two paths exactly when they lead to the same file. */
  readonly identity: string
  /** Unique within the device; a namespace's is the number shown as `net:[4026531840]`. */
  readonly inode: bigint
  /** File type and permissions, as in st_mode. */
  readonly mode: number
  readonly size: number
  readonly modifiedSeconds: bigint
  readonly modifiedNanoseconds: number
}

export const FileType = { MASK: 0o170000, DIRECTORY: 0o040000, REGULAR: 0o100000, SYMLINK: 0o120000 } as const

/** struct statx, linux/stat.h: the layout is the same on every architecture. One for all calls: it is read at once. */
const statusBuffer = allocate(256)
const statusView = new DataView(statusBuffer.buffer)

function decodeStatus(): FileStatus {
  const inode = statusView.getBigUint64(32, true)
  return {
    identity: `${statusView.getUint32(136, true)}:${statusView.getUint32(140, true)}:${inode}`,
    inode,
    mode: statusView.getUint16(28, true),
    size: Number(statusView.getBigUint64(40, true)),
    modifiedSeconds: statusView.getBigInt64(112, true),
    modifiedNanoseconds: statusView.getUint32(120, true),
  }
}

/** The status of a path (symbolic links followed unless told), or undefined where it does not exist. */
export function statusOf(path: string, options: { followLinks?: boolean } = {}): FileStatus | undefined {
  const name = cString(path)
  const flags = options.followLinks === false ? AT_SYMLINK_NOFOLLOW : 0
  const result = attempt(
    [Errno.ENOENT, Errno.ENOTDIR],
    () => `stat ${JSON.stringify(path)}`,
    () => libc.statx(AT_FDCWD, name, flags, STATX_BASIC_STATS, statusBuffer),
  )
  return result < 0 ? undefined : decodeStatus()
}

/** The status of an open descriptor. */
export function statusOfDescriptor(fd: number): FileStatus {
  const name = cString('')
  check(
    () => `stat descriptor ${fd}`,
    () => libc.statx(fd, name, AT_EMPTY_PATH, STATX_BASIC_STATS, statusBuffer),
  )
  return decodeStatus()
}

/** Sets when a file or directory was last modified; the time of last access stays. */
export function setModificationTime(path: string, seconds: bigint, nanoseconds: number): void {
  // Two struct timespec: access, modification.
  const [name, times] = [cString(path), allocate(32)]
  const view = new DataView(times.buffer)
  view.setBigInt64(8, UTIME_OMIT, true)
  view.setBigInt64(16, seconds, true)
  view.setBigInt64(24, BigInt(nanoseconds), true)
  check(
    () => `set modification time of ${JSON.stringify(path)}`,
    () => libc.utimensat(AT_FDCWD, name, times, 0),
  )
}

/** The file system's magic number (linux/magic.h) under an open descriptor. */
export function fileSystemType(fd: number): number {
  const buffer = allocate(256)
  check(
    () => `statfs descriptor ${fd}`,
    () => libc.fstatfs(fd, buffer),
  )
  return new DataView(buffer.buffer).getUint32(0, true)
}

/** Where a symbolic link points, or undefined where there is none. @throws SysError EACCES where it may not be read */
export function readLink(path: string): string | undefined {
  const [name, buffer] = [cString(path), allocate(4096)]
  const length = attempt(
    [Errno.ENOENT, Errno.ENOTDIR, Errno.EINVAL],
    () => `readlink ${JSON.stringify(path)}`,
    () => libc.readlink(name, buffer, buffer.length),
  )
  return length < 0 ? undefined : decodeText(buffer.subarray(0, length))
}
