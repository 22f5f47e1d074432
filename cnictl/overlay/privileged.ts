/** Commands that look into namespaces and ask the kernel for what only root may see. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { NetlinkError } from '../../lib/netlink/error.ts'
import { Errno, SysError } from '../../lib/sys/errno.ts'
import type { Command } from '../command.ts'

/** The command, which tells a user without the privileges what they are. */
export function privileged(command: Command): Command {
  return {
    ...command,
    run: async (input, context) => {
      try {
        return await command.run(input, context)
      } catch (error) {
        throw isForbidden(error) ? explained(error) : error
      }
    },
  }
}

function isForbidden(error: unknown): error is Error {
  if (!(error instanceof SysError) && !(error instanceof NetlinkError)) return false
  return error.errno === Errno.EPERM || error.errno === Errno.EACCES
}

function explained(cause: Error): CniError {
  return new CniError(
    ErrorCode.invalidEnvironment,
    `this user may not examine overlay networks: ${cause.message}`,
    'run cnictl as root: it needs CAP_SYS_ADMIN to look into network namespaces, CAP_NET_ADMIN for nftables, CAP_NET_RAW for ICMP',
    { cause },
  )
}
