/** Looking at a network's addresses without changing them: CHECK, STATUS, and lists for people. */

import type { IpAddress } from '../../lib/address/address.ts'
import { equalAddresses, formatAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentId } from '../../lib/cni/types.ts'
import { statusOf } from '../../lib/sys/file.ts'
import { firstFree } from './allocate.ts'
import type { Owner } from './entry.ts'
import { containerKey } from './entry.ts'
import type { RangeSet } from './range-set.ts'
import { formatRangeSet, rangeOf, segmentsAfter } from './range-set.ts'
import { deadHoldings, deathJudge } from './reclaim.ts'
import { withState } from './state.ts'

/**
 * Checks that an attachment holds an address of every range set.
 * @param plugin that says so
 * @param expected addresses that it is said to have; those in the ranges must be the ones it holds
 * @throws CniError 105
 */
export function checkHeld(
  plugin: string,
  directory: string,
  { containerId, ifname }: AttachmentId,
  rangeSets: readonly RangeSet[],
  expected: readonly IpAddress[],
): void {
  const attachment = `${containerId} ${ifname}`
  const held = (
    statusOf(directory) ? withState(directory, 'look', state => state.heldBy(containerId, ifname)) : []
  ).map(({ address }) => address)
  if (held.length === 0)
    throw failed(
      `${plugin}: Failed to find address added by container ${containerId}`,
      `no file in ${directory} names it`,
    )
  for (const [index, set] of rangeSets.entries()) {
    if (!held.some(address => rangeOf(set, address) !== undefined))
      throw failed(
        `${attachment} holds no address of range set ${index}: ${formatRangeSet(set)}`,
        `it holds ${held.map(formatAddress).join(', ')}; the ranges may have been changed since ADD`,
      )
  }
  for (const address of expected) {
    const isOurs = rangeSets.some(set => rangeOf(set, address) !== undefined)
    if (isOurs && !held.some(other => equalAddresses(other, address)))
      throw failed(
        `${attachment} has address ${formatAddress(address)} in prevResult, but does not hold it`,
        `it holds ${held.map(formatAddress).join(', ')}; see ${directory}/${formatAddress(address)}`,
      )
  }
}

function failed(message: string, details: string): CniError {
  return new CniError(ErrorCode.checkFailed, message, details)
}

/** The first range set from which nothing could be handed out, not even after what is dead was given back. */
export function exhaustedRangeSet(directory: string, rangeSets: readonly RangeSet[]): RangeSet | undefined {
  if (statusOf(directory) === undefined) return undefined
  return withState(directory, 'look', state => {
    const isFull = (set: RangeSet) =>
      segmentsAfter(set, undefined).every(segment => firstFree(state, set, segment) === undefined)
    if (!rangeSets.some(isFull)) return undefined
    const dead = deadHoldings(state)
    return rangeSets.find(set => isFull(set) && !dead.some(({ address }) => rangeOf(set, address) !== undefined))
  })
}

/** An address that is taken. */
export interface TakenAddress {
  readonly address: IpAddress
  readonly owner: Owner
  /** True when its boot or its namespace is gone, undefined when nothing is known of them. */
  readonly isDead: boolean | undefined
}

/** All taken addresses of a network. */
export function listTaken(directory: string): TakenAddress[] {
  if (statusOf(directory) === undefined) return []
  return withState(directory, 'look', state => {
    const isDead = deathJudge(state)
    return state.files.list().flatMap(address => {
      const entry = state.files.read(address)
      if (entry.kind !== 'taken') return []
      const holding = state.index
        .holdingsOf(containerKey(entry.owner.containerId))
        .find(candidate => equalAddresses(candidate.address, address))
      return [{ address, owner: entry.owner, isDead: holding?.stamp === undefined ? undefined : isDead(holding.stamp) }]
    })
  })
}
