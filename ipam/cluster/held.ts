/** What this node may hand out of a pool, read under the lock of its addresses. */

import type { IpAddress } from '../../lib/address/address.ts'
import { equalAddresses, parseAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { bootTimeSeconds } from '../../lib/sys/clock.ts'
import type { Range } from '../allocator/range.ts'
import type { AllocationState } from '../allocator/state.ts'
import type { ClusterConfig } from './config.ts'
import { heldRanges } from './pool-range.ts'
import type { HeldBlocks } from './state-files.ts'
import { networkDirectory, readBlockLease, readHeldBlocks, secondsOfLease } from './state-files.ts'

/** Undefined when this node holds nothing for the network yet. @throws CniError 104 when it does, but of another pool */
export function readHeld({ dataDirectory, network, pool }: ClusterConfig): HeldBlocks | undefined {
  const held = readHeldBlocks(dataDirectory, network)
  if (held === undefined || held.pool === pool) return held
  throw new CniError(
    ErrorCode.conflict,
    `network "${network}" has blocks of pool "${held.pool}" on this node, but its configuration names pool "${pool}"`,
    `delete its attachments, stop overlayd, remove ${networkDirectory(dataDirectory, network)} and start overlayd; or name pool "${held.pool}"`,
  )
}

/**
 * The ranges, by range set, from which an attachment may be given an address. A borrowed address is for the attachment that
 * asks for it, or has it.
 * @param own addresses that the attachment holds
 */
export function rangesFor(config: ClusterConfig, held: HeldBlocks, own: readonly IpAddress[]): Range[][] {
  const borrowed = addresses(held.borrowed)
  return config.rangeSets.map((set, index) => {
    const requested = config.requested[index]
    const wanted = requested === undefined ? own : [requested, ...own]
    return heldRanges(
      set,
      held.blocks,
      borrowed.filter(address => wanted.some(other => equalAddresses(other, address))),
    )
  })
}

/** All ranges in which addresses of this node can lie, borrowed ones included. */
export function allRanges(config: ClusterConfig, held: HeldBlocks): Range[][] {
  return config.rangeSets.map(set => heldRanges(set, held.blocks, addresses(held.borrowed)))
}

/** Undefined while the blocks are this node's own. */
export function leaseFailure(config: ClusterConfig, state: Pick<AllocationState, 'boot'>): CniError | undefined {
  const lease = readBlockLease(config.dataDirectory)
  const left = secondsOfLease(lease, state.boot, bootTimeSeconds())
  if (left > 0) return undefined
  const since = left < 0 ? ` ${Math.ceil(-left)} s ago` : ' with the last start of the host'
  return new CniError(
    ErrorCode.tryAgainLater,
    `the lease of this node's address blocks ran out${since}: they may be another node's by now`,
    'overlayd renews it as soon as it reaches etcd: see its log',
  )
}

function addresses(texts: readonly string[]): IpAddress[] {
  return texts.map(parseAddress).filter(address => address !== undefined)
}
