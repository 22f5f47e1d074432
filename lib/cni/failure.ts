/** Any exception as the error that the protocol carries. */

import { Errno, errnoName } from '../sys/errno.ts'
import { CniError, ErrorCode } from './errors.ts'

/** Errors after which the same request may succeed. */
const passing: readonly number[] = [Errno.EAGAIN, Errno.EBUSY]

const remedies: Readonly<Record<string, string>> = {
  EPERM: 'the plugin needs root, with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  EACCES: 'the plugin needs root, with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  ENOSPC: 'free space on the file system',
  EDQUOT: 'raise the quota of the file system',
  EROFS: 'the plugin keeps its state below /var/lib/cni and /run/cni: mount them writable',
  EMFILE: 'raise the limit of open files (ulimit -n)',
  ENFILE: 'raise the sysctl fs.file-max',
  EAGAIN: 'try again',
  EBUSY: 'try again',
  EOPNOTSUPP: 'the kernel may lack the feature: compare its configuration with what the plugin needs',
  EAFNOSUPPORT: 'the kernel lacks the address family, IPv6 may be switched off (ipv6.disable)',
}

/** A CniError stays as it is; a refused system call or netlink request gets its code; anything else is our defect. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error
  if (!(error instanceof Error)) return new CniError(ErrorCode.internal, `thrown: ${String(error)}`)
  // By name, because an upper layer's class is not this layer's to import.
  if (error.name === 'LockTimeoutError') {
    return new CniError(
      ErrorCode.tryAgainLater,
      error.message,
      'try again; "fuser -v" on the file shows who holds it',
      {
        cause: error,
      },
    )
  }
  if (error.name === 'NotANamespaceError') {
    const remedy = 'CNI_NETNS must be the path of a network namespace: /run/netns/<name>, or /proc/<pid>/ns/net'
    return new CniError(ErrorCode.invalidNetns, error.message, remedy, { cause: error })
  }
  const errno = 'errno' in error && typeof error.errno === 'number' ? Math.abs(error.errno) : undefined
  if (errno === undefined) return new CniError(ErrorCode.internal, error.message, error.stack, { cause: error })
  const refused = error.name === 'SysError' ? ErrorCode.ioFailure : ErrorCode.kernel
  const code = passing.includes(errno) ? ErrorCode.tryAgainLater : refused
  return new CniError(code, error.message, remedies[errnoName(errno)], { cause: error })
}
