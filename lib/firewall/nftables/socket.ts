/** The netlink socket for nftables, on kernels with and without it. */

import { CniError, ErrorCode } from '../../cni/errors.ts'
import { rulesetGeneration } from '../../netlink/netfilter/batch.ts'
import { NetlinkProtocol, NetlinkSocket } from '../../netlink/socket.ts'
import { Errno, SysError } from '../../sys/errno.ts'
import { isNetlinkError } from './transaction.ts'

/** Undefined where the kernel has no nftables, and so no state in it. The socket keeps the thread's network namespace. */
export function openNftables(): NetlinkSocket | undefined {
  let socket: NetlinkSocket
  try {
    socket = new NetlinkSocket(NetlinkProtocol.netfilter)
  } catch (error) {
    if (error instanceof SysError && error.errno === Errno.EPROTONOSUPPORT) return undefined
    throw error
  }
  try {
    rulesetGeneration(socket)
    return socket
  } catch (error) {
    socket.close()
    // How nfnetlink answers for a subsystem that is neither built in nor to be loaded.
    if (isNetlinkError(error, Errno.EINVAL, Errno.EOPNOTSUPP)) return undefined
    throw error
  }
}

/**
 * @param what is to be done with it: `masquerade with nftables`
 * @param otherwise how to do without it, as the end of a sentence
 * @throws CniError code 101 where the kernel has no nftables
 */
export function requireNftables(what: string, otherwise: string): NetlinkSocket {
  const socket = openNftables()
  if (socket !== undefined) return socket
  throw new CniError(
    ErrorCode.kernelFeatureMissing,
    `${what}: the kernel has no nftables`,
    `Load the module nf_tables, or ${otherwise}.`,
  )
}

/** Runs a function with a socket, and closes it whatever happens. */
export function withNftables<T>(socket: NetlinkSocket, use: (socket: NetlinkSocket) => T): T {
  try {
    return use(socket)
  } finally {
    socket.close()
  }
}
