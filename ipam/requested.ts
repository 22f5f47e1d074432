/** Addresses that the runtime asks for, and the range sets that they belong to. */

import type { IpAddress } from '../lib/address/address.ts'
import { equalAddresses, formatAddress, parseAddress } from '../lib/address/address.ts'
import { parsePrefix } from '../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import type { RangeSet } from './allocator/range-set.ts'
import { formatRangeSet, isGateway, rangeOf } from './allocator/range-set.ts'
import { invalid } from './values.ts'

/** Where they stand in a configuration. */
export interface RequestDocument {
  args?: { cni?: { ips?: string[] } }
  runtimeConfig?: { ips?: string[] }
}

/** From CNI_ARGS, args and runtimeConfig together, each once. @throws CniError 7, or 4 for one in CNI_ARGS */
export function requestedAddresses(
  { args, runtimeConfig }: RequestDocument,
  cniArguments: ReadonlyMap<string, string> | undefined,
): IpAddress[] {
  const fromArguments = cniArguments?.get('IP')
  const all = [
    ...(fromArguments ? [readRequested(fromArguments, 'IP in CNI_ARGS', ErrorCode.invalidEnvironment)] : []),
    ...(args?.cni?.ips ?? []).map((text, index) => readRequested(text, `args.cni.ips[${index}]`)),
    ...(runtimeConfig?.ips ?? []).map((text, index) => readRequested(text, `runtimeConfig.ips[${index}]`)),
  ]
  return all.filter((address, index) => all.findIndex(other => equalAddresses(other, address)) === index)
}

/** A prefix length may stand there; it is the range's that counts. */
function readRequested(text: string, path: string, code: number = ErrorCode.invalidNetworkConfig): IpAddress {
  const address = parseAddress(text) ?? parsePrefix(text)?.address
  if (address !== undefined) return address
  throw new CniError(
    code,
    `cannot understand ip: ${path} is ${JSON.stringify(text)}`,
    'give an address: "10.1.0.5", "2001:db8::5"',
  )
}

/** Gives each range set the address that is asked of it. @throws CniError 7 when one is left over, or is a gateway */
export function assignRequested(addresses: readonly IpAddress[], sets: readonly RangeSet[]): (IpAddress | undefined)[] {
  const left = new Set(addresses)
  const assigned = sets.map((set, index) => {
    const address = addresses.find(candidate => left.has(candidate) && rangeOf(set, candidate) !== undefined)
    if (address === undefined) return undefined
    left.delete(address)
    if (isGateway(set, address))
      throw invalid(
        `failed to allocate for range ${index}: requested ip ${formatAddress(address)} is subnet's gateway`,
        'ask for another address, or set another gateway for the range',
      )
    return address
  })
  if (left.size > 0)
    throw invalid(
      `failed to allocate all requested IPs: ${[...left].map(formatAddress).join(' ')}`,
      `one address is taken from each range set: ${sets.map(formatRangeSet).join(' and ')}`,
    )
  return assigned
}
