/** A run of addresses in one subnet, from which a pool is made. */

import type { IpAddress } from '../../lib/address/address.ts'
import { compareAddresses, equalAddresses, formatAddress, nextAddress } from '../../lib/address/address.ts'
import type { Prefix } from '../../lib/address/prefix.ts'
import { formatPrefix, lastAddress, networkAddress, prefixContains } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'

/** A range with its defaults filled in. */
export interface Range {
  readonly subnet: Prefix
  /** First address of the range. */
  readonly start: IpAddress
  /** Last address of the range. */
  readonly end: IpAddress
  /** Never handed out; may lie outside the range. */
  readonly gateway: IpAddress
}

/** A range as it is configured. */
export interface RangeOptions {
  readonly subnet: Prefix
  /** Default: the address after the network's own. */
  readonly rangeStart?: IpAddress | undefined
  /** Default: the address before the broadcast address (IPv4), the last one (IPv6). */
  readonly rangeEnd?: IpAddress | undefined
  /** Default: the address after the network's own. */
  readonly gateway?: IpAddress | undefined
}

/**
 * Fills in the defaults.
 * @throws CniError (7) when the subnet is too small or has host bits set, or a bound lies outside of it.
 */
export function completeRange({ subnet, rangeStart, rangeEnd, gateway }: RangeOptions): Range {
  const name = formatPrefix(subnet)
  const bits = subnet.address.length * 8
  if (subnet.length > bits - 2)
    throw invalid(`Network ${name} too small to allocate from`, `use a prefix length of ${bits - 2} or less`)
  const network = networkAddress(subnet)
  if (!equalAddresses(subnet.address, network))
    throw invalid(
      `Network has host bits set. For a subnet mask of length ${subnet.length} the network address is ${formatAddress(network)}`,
      `the subnet is given as ${name}; write ${formatAddress(network)}/${subnet.length}`,
    )
  const first = nextAddress(network) ?? network
  const start = rangeStart ?? first
  const end = rangeEnd ?? lastOfPool(subnet)
  if (!prefixContains(subnet, start)) throw outside('RangeStart', start, name)
  if (!prefixContains(subnet, end)) throw outside('RangeEnd', end, name)
  if (compareAddresses(start, end) > 0)
    throw invalid(
      `RangeStart ${formatAddress(start)} is after RangeEnd ${formatAddress(end)} in network ${name}`,
      'exchange the two, or leave one out for its default',
    )
  if (gateway !== undefined && gateway.length !== network.length)
    throw invalid(
      `Gateway ${formatAddress(gateway)} is of another address family than network ${name}`,
      'give a gateway of the same family, or leave it out: the default is the first address of the network',
    )
  return { subnet, start, end, gateway: gateway ?? first }
}

function lastOfPool(subnet: Prefix): IpAddress {
  const last = lastAddress(subnet)
  // The broadcast address is odd, so that there is nothing to borrow.
  if (last.length === 4) last[3] = (last[3] ?? 0) - 1
  return last
}

function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}

function outside(bound: string, address: IpAddress, network: string): CniError {
  return invalid(
    `${bound} ${formatAddress(address)} not in network ${network}`,
    'give an address of the network, or leave it out for the default',
  )
}

export function rangeContains(range: Range, address: IpAddress): boolean {
  return (
    address.length === range.start.length &&
    compareAddresses(range.start, address) <= 0 &&
    compareAddresses(address, range.end) <= 0
  )
}

/** Whether the two have an address in common. */
export function rangesOverlap(a: Range, b: Range): boolean {
  return rangeContains(a, b.start) || rangeContains(b, a.start)
}

/** "10.1.0.1-10.1.0.254" */
export function formatRange(range: Range): string {
  return `${formatAddress(range.start)}-${formatAddress(range.end)}`
}
