/** Changing a ruleset that others change at the same time. */

import { CniError, ErrorCode } from '../../cni/errors.ts'
import { NetlinkError } from '../../netlink/error.ts'
import type { Request } from '../../netlink/message.ts'
import { applyBatch, rulesetGeneration } from '../../netlink/netfilter/batch.ts'
import type { TableName } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { Errno } from '../../sys/errno.ts'

/** Every failed attempt means that another process got something done. */
const ATTEMPTS = 100
/** Here, that another process created or removed one of the few objects concerned. */
const CREATION_ATTEMPTS = 20

/** So that a batch fits into the socket's send buffer of 208 KiB, and its elements into an attribute of 64. */
export const ELEMENTS_IN_BATCH = 1000

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
 * @param creation given where the plan creates what the kernel may lack
 * @throws CniError code 101 for what the kernel lacks then
 */
export function applyPlanned(
  socket: NetlinkSocket,
  what: string,
  plan: () => readonly Request[],
  creation?: Creation,
): void {
  retried(what, () => {
    const generation = rulesetGeneration(socket)
    try {
      applyBatch(socket, plan(), { generation })
      return 'done'
    } catch (error) {
      if (isNetlinkError(error, Errno.ERESTART)) return 'again'
      // ENOENT is how the kernel answers for types of chains and expressions that it does not have.
      const lacking = isNetlinkError(error, Errno.ENOENT, Errno.EOPNOTSUPP, Errno.EAFNOSUPPORT)
      throw creation !== undefined && lacking ? unsupported(creation, error) : error
    }
  })
}

/** What is being created, for errors. */
export interface Creation {
  /** `masquerade with nftables` */
  readonly what: string
  readonly table: TableName
  /** What to do where the kernel cannot do it. */
  readonly needs: string
}

/**
 * Creates what `plan` finds missing, until nothing is.
 *
 * There is no lock: all creations are exclusive, so that of several processes that find something missing one creates
 * it, and the others are refused as a whole and look again.
 * @throws CniError code 101 where the kernel lacks what is needed, 11 when others keep changing the table
 */
export function createMissing(socket: NetlinkSocket, creation: Creation, plan: () => readonly Request[]): void {
  let refusal: NetlinkError | undefined
  for (let attempt = 0; attempt < CREATION_ATTEMPTS; attempt++) {
    refusal = refused(socket, creation, plan())
    if (refusal === undefined) return
  }
  if (refusal !== undefined) throw explained(creation, refusal)
}

/** Applies the changes; returns the error that says that objects are missing or there already. */
function refused(socket: NetlinkSocket, creation: Creation, changes: readonly Request[]): NetlinkError | undefined {
  try {
    applyBatch(socket, changes)
    return undefined
  } catch (error) {
    if (isNetlinkError(error, Errno.ENOENT, Errno.EEXIST)) return error
    if (isNetlinkError(error, Errno.EOPNOTSUPP, Errno.EAFNOSUPPORT)) throw unsupported(creation, error)
    throw error
  }
}

function unsupported({ what, needs }: Creation, refusal: NetlinkError): CniError {
  return new CniError(ErrorCode.kernelFeatureMissing, `${what}: ${refusal.message}`, needs, { cause: refusal })
}

function explained(creation: Creation, refusal: NetlinkError): CniError {
  // How the kernel answers for types of chains and expressions that it does not have, however often it is asked.
  if (refusal.errno === Errno.ENOENT) return unsupported(creation, refusal)
  const { what, table } = creation
  return new CniError(
    ErrorCode.tryAgainLater,
    `${what}: others changed table "${table.family} ${table.table}" during each of ${CREATION_ATTEMPTS} attempts: ${refusal.message}`,
    'Find out with "nft monitor" which program keeps changing it.',
    { cause: refusal },
  )
}
