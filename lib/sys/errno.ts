/** Names and texts of the errno values that the kernel interfaces used here return (asm-generic/errno*.h). */

const table = [
  [1, 'EPERM', 'operation not permitted'],
  [2, 'ENOENT', 'no such file or directory'],
  [3, 'ESRCH', 'no such process'],
  [4, 'EINTR', 'interrupted system call'],
  [5, 'EIO', 'input/output error'],
  [6, 'ENXIO', 'no such device or address'],
  [7, 'E2BIG', 'argument list too long'],
  [9, 'EBADF', 'bad file descriptor'],
  [11, 'EAGAIN', 'resource temporarily unavailable'],
  [12, 'ENOMEM', 'out of memory'],
  [13, 'EACCES', 'permission denied'],
  [14, 'EFAULT', 'bad address'],
  [16, 'EBUSY', 'device or resource busy'],
  [17, 'EEXIST', 'already exists'],
  [18, 'EXDEV', 'cross-device link'],
  [19, 'ENODEV', 'no such device'],
  [20, 'ENOTDIR', 'not a directory'],
  [21, 'EISDIR', 'is a directory'],
  [22, 'EINVAL', 'invalid argument'],
  [23, 'ENFILE', 'too many open files in system'],
  [24, 'EMFILE', 'too many open files'],
  [25, 'ENOTTY', 'not a typewriter'],
  [26, 'ETXTBSY', 'text file busy'],
  [27, 'EFBIG', 'file too large'],
  [28, 'ENOSPC', 'no space left on device'],
  [30, 'EROFS', 'read-only file system'],
  [31, 'EMLINK', 'too many links'],
  [32, 'EPIPE', 'broken pipe'],
  [33, 'EDOM', 'argument out of domain'],
  [34, 'ERANGE', 'result not representable'],
  [36, 'ENAMETOOLONG', 'file name too long'],
  [38, 'ENOSYS', 'function not implemented'],
  [39, 'ENOTEMPTY', 'directory not empty'],
  [40, 'ELOOP', 'too many levels of symbolic links'],
  [54, 'EXFULL', 'exchange full'],
  [61, 'ENODATA', 'no data available'],
  [75, 'EOVERFLOW', 'value too large'],
  [85, 'ERESTART', 'interrupted, to be restarted'],
  [90, 'EMSGSIZE', 'message too long'],
  [92, 'ENOPROTOOPT', 'protocol not available'],
  [93, 'EPROTONOSUPPORT', 'protocol not supported'],
  [95, 'EOPNOTSUPP', 'operation not supported'],
  [97, 'EAFNOSUPPORT', 'address family not supported'],
  [98, 'EADDRINUSE', 'address already in use'],
  [99, 'EADDRNOTAVAIL', 'address not available'],
  [100, 'ENETDOWN', 'network is down'],
  [101, 'ENETUNREACH', 'network is unreachable'],
  [105, 'ENOBUFS', 'no buffer space available'],
  [107, 'ENOTCONN', 'transport endpoint is not connected'],
  [110, 'ETIMEDOUT', 'timed out'],
  [111, 'ECONNREFUSED', 'connection refused'],
  [113, 'EHOSTUNREACH', 'no route to host'],
  [114, 'EALREADY', 'operation already in progress'],
  [122, 'EDQUOT', 'disk quota exceeded'],
] as const

export type ErrnoName = (typeof table)[number][1]

/** Numbers by name, for comparing: `error.errno === Errno.ENOENT`. */
export const Errno = numbersByName() as Readonly<Record<ErrnoName, number>>

function numbersByName(): Record<string, number> {
  const numbers: Record<string, number> = {}
  for (const [number, name] of table) numbers[name] = number
  return numbers
}

/** "ENOENT", or "errno 133" for a number without a name here. */
export function errnoName(errno: number): string {
  return table.find(([number]) => number === errno)?.[1] ?? `errno ${errno}`
}

/** "ENOENT (no such file or directory)". */
export function describeErrno(errno: number): string {
  const entry = table.find(([number]) => number === errno)
  return entry === undefined ? `errno ${errno}` : `${entry[1]} (${entry[2]})`
}

/** A system call that failed. */
export class SysError extends Error {
  /** The positive errno. */
  readonly errno: number
  /** The errno's name: "ENOENT". */
  readonly code: string

  /** @param operation what was tried, with its object: `open "/run/netns/x"`. */
  constructor(operation: string, errno: number) {
    super(`${operation}: ${describeErrno(errno)}`)
    this.name = 'SysError'
    this.errno = errno
    this.code = errnoName(errno)
  }
}
