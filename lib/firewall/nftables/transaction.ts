/** Changing a ruleset that others change at the same time. */

import { CniError, ErrorCode } from '../../cni/errors.ts'
import { NetlinkError } from '../../netlink/error.ts'
import type { Request } from '../../netlink/message.ts'
import { applyBatch, rulesetGeneration } from '../../netlink/netfilter/batch.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { Errno } from '../../sys/errno.ts'

/** Every failed attempt means that another process got something done. */
const ATTEMPTS = 100

/** Whether an error of the kernel is one of these. */
export function isNetlinkError(error: unknown, ...errnos: number[]): error is NetlinkError {
  return error instanceof NetlinkError && errnos.includes(error.errno)
}

/** @throws CniError to try again later, when the ruleset never came to rest */
export function retried(what: string, attempt: () => 'done' | 'again'): void {
  for (let count = 0; count < ATTEMPTS; count++) if (attempt() === 'done') return
  throw new CniError(
    ErrorCode.tryAgainLater,
    `${what}: the nftables ruleset was changed by others during each of ${ATTEMPTS} attempts`,
    'Find out with "nft monitor" which program keeps changing it.',
  )
}

/**
 * Applies the changes that `plan` derives from what it reads, and only if the ruleset is still what it has read;
 * otherwise plans again.
 */
export function applyPlanned(socket: NetlinkSocket, what: string, plan: () => readonly Request[]): void {
  retried(what, () => {
    const generation = rulesetGeneration(socket)
    try {
      applyBatch(socket, plan(), { generation })
      return 'done'
    } catch (error) {
      if (isNetlinkError(error, Errno.ERESTART)) return 'again'
      throw error
    }
  })
}
