/** Asking overlayd for another block. */

import type { IpAddress } from '../../lib/address/address.ts'
import { formatAddress } from '../../lib/address/address.ts'
import { formatPrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentId } from '../../lib/cni/types.ts'
import type { BlockAnswer, BlockRequest } from '../../lib/overlay/agent-protocol.ts'
import type { ClusterConfig } from './config.ts'

/** The agent's answer, or a CniError. */
export type AskAgent = (socket: string, request: BlockRequest) => BlockAnswer

/** Why the held blocks do not serve an attachment. */
export interface Need {
  readonly rangeSet: number
  /** Blocks in which there is nothing to be had. */
  readonly full: readonly string[]
  /** An address that is in none of the held blocks. */
  readonly wanted?: IpAddress
  /** What is answered when the agent cannot help either. */
  readonly reason?: CniError
}

/** @throws CniError */
export function askForBlock(
  ask: AskAgent,
  config: ClusterConfig,
  { containerId, ifname }: AttachmentId,
  { rangeSet, full, wanted, reason }: Need,
  look = false,
): void {
  const { network, pool, dataDirectory, coolDownSeconds } = config
  const rangeSets = config.rangeSets.map(set =>
    set.map(({ subnet, start, end, gateway, blockLength }) => ({
      subnet: formatPrefix(subnet),
      start: formatAddress(start),
      end: formatAddress(end),
      gateway: formatAddress(gateway),
      blockLength,
    })),
  )
  try {
    ask(config.socket, {
      network,
      pool,
      dataDirectory,
      coolDownSeconds,
      rangeSets,
      rangeSet,
      containerId,
      ifname,
      full,
      ...(wanted && { wanted: formatAddress(wanted) }),
      ...(look && { look }),
    })
  } catch (error) {
    if (!(error instanceof CniError) || reason === undefined) throw error
    // An exhausted pool is no reason to give up while addresses of this node cool down.
    const code = error.code === ErrorCode.poolExhausted ? reason.code : error.code
    throw new CniError(
      code,
      error.message,
      [error.details, reason.message, reason.details].filter(Boolean).join('\n'),
      { cause: error },
    )
  }
}
