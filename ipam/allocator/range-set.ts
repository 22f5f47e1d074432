/** Range sets: an attachment gets one address from each. */

import type { IpAddress } from '../../lib/address/address.ts'
import { equalAddresses, nextAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Range, RangeOptions } from './range.ts'
import { completeRange, formatRange, rangeContains, rangesOverlap } from './range.ts'

/** Ranges of one family that do not overlap: one pool. */
export type RangeSet = readonly Range[]

/**
 * Fills in the defaults of all ranges and checks the sets against each other.
 * @throws CniError (7) that names the set by its number, counted from 0 as in the configuration.
 */
export function completeRangeSets(sets: readonly (readonly RangeOptions[])[]): RangeSet[] {
  const complete = sets.map(completeRangeSet)
  for (const [index, set] of complete.entries()) {
    for (const [later, other] of complete.entries()) {
      if (later > index && set.some(range => other.some(candidate => rangesOverlap(range, candidate))))
        throw invalid(
          `range set ${index} overlaps with ${later}`,
          `an address may belong to one set only: ${formatRangeSet(set)} and ${formatRangeSet(other)}`,
        )
    }
  }
  return complete
}

function completeRangeSet(options: readonly RangeOptions[], index: number): RangeSet {
  try {
    if (options.length === 0) throw invalid('empty range set', 'give each set at least one range with a subnet')
    const set = options.map(completeRange)
    for (const [position, range] of set.entries()) {
      for (const earlier of set.slice(0, position)) {
        if (earlier.start.length !== range.start.length)
          throw invalid(
            'mixed address families',
            `${formatRange(earlier)} and ${formatRange(range)}: write IPv4 and IPv6 ranges into sets of their own`,
          )
        if (rangesOverlap(earlier, range))
          throw invalid(
            `subnets ${formatRange(earlier)} and ${formatRange(range)} overlap`,
            'give the ranges of a set distinct addresses',
          )
      }
    }
    return set
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw new CniError(error.code, `invalid range set ${index}: ${error.message}`, error.details)
  }
}

function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}

/** The range that holds the address, or undefined. */
export function rangeOf(set: RangeSet, address: IpAddress): Range | undefined {
  return set.find(range => rangeContains(range, address))
}

/** Whether the address is the gateway of one of the set's ranges, and so never handed out. */
export function isGateway(set: RangeSet, address: IpAddress): boolean {
  return set.some(range => equalAddresses(range.gateway, address))
}

/** "10.1.0.2-10.1.0.9,10.1.0.20-10.1.0.29" */
export function formatRangeSet(set: RangeSet): string {
  return set.map(formatRange).join(',')
}

/** First and last address of a part of a range. */
export type Segment = readonly [first: IpAddress, last: IpAddress]

/**
 * The set's addresses in the order in which they are tried: from the one after the cursor to the end, then from the
 * beginning to the cursor. A cursor outside of the set (the configuration has changed) counts as none.
 */
export function segmentsAfter(set: RangeSet, cursor: IpAddress | undefined): Segment[] {
  const whole = set.map((range): Segment => [range.start, range.end])
  const position = cursor === undefined ? -1 : set.findIndex(range => rangeContains(range, cursor))
  const range = set[position]
  if (cursor === undefined || range === undefined) return whole
  const next = nextAddress(cursor)
  const rest: Segment[] = next !== undefined && rangeContains(range, next) ? [[next, range.end]] : []
  return [...rest, ...whole.slice(position + 1), ...whole.slice(0, position), [range.start, cursor]]
}
