/** The addresses of an attachment: those of the configuration, those that the runtime asks for, and their gateways. */

import type { IpAddress } from '../../lib/address/address.ts'
import { equalAddresses, familyOf, formatAddress, isMulticast, parseAddress } from '../../lib/address/address.ts'
import type { Prefix } from '../../lib/address/prefix.ts'
import { formatPrefix, lastAddress, networkAddress, parsePrefix, prefixContains } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { invalid, readAddress, readPrefix } from '../values.ts'

/** An entry of `ipam.addresses`. */
export interface ConfiguredDocument {
  address: string
  gateway?: string
}

export interface StaticAddress {
  readonly prefix: Prefix
  readonly gateway: IpAddress | undefined
  /** Where it was asked for, with the error code of that place. */
  readonly source: Source
}

interface Source {
  readonly name: string
  readonly code: number
}

/** @throws CniError 7 */
export function readConfigured(document: ConfiguredDocument, index: number): StaticAddress {
  const path = `ipam.addresses[${index}]`
  const source = { name: `${path}.address`, code: ErrorCode.invalidNetworkConfig }
  const prefix = readPrefix(document.address, source.name)
  refuseUnusable(prefix, source)
  const gateway = readAddress(document.gateway, `${path}.gateway`)
  if (gateway !== undefined && gateway.length !== prefix.address.length)
    throw invalid(
      `"${path}.gateway" is ${formatAddress(gateway)}, of another address family than ${formatPrefix(prefix)}`,
      'give each address the gateway of its own family',
    )
  return { prefix, gateway, source }
}

/**
 * An address that the runtime asks for. What it does not say comes from the configuration: the prefix length from the
 * smallest configured subnet that it lies in, the gateway from the entry of the same address or else of that subnet.
 * @throws CniError with the source's code
 */
export function completeRequested(text: string, source: Source, configured: readonly StaticAddress[]): StaticAddress {
  const given = parsePrefix(text)
  const address = given?.address ?? parseAddress(text)
  if (address === undefined) throw notUnderstood(text, source)
  const home = configured
    .filter(({ prefix }) => prefixContains(prefix, address))
    .sort((one, other) => rank(other, address) - rank(one, address))
  const length = given?.length ?? home[0]?.prefix.length
  if (length === undefined)
    throw new CniError(
      source.code,
      `${quoted(source)} is "${text}", without a prefix length and in the subnet of no address of "ipam.addresses"`,
      `write it with its prefix length, "${text}/${familyOf(address) === 4 ? 24 : 64}" for example`,
    )
  const prefix = { address, length }
  refuseUnusable(prefix, source)
  const gateway = home.find(one => one.gateway && servesAlso(one, one.gateway, prefix))?.gateway
  return { prefix, gateway, source }
}

/** The same address comes first, then the smallest subnet. */
function rank({ prefix }: StaticAddress, address: IpAddress): number {
  return prefix.length + (equalAddresses(prefix.address, address) ? 256 : 0)
}

/** Whether an entry's gateway can be reached from an address of its subnet as well as from the entry's own. */
function servesAlso(entry: StaticAddress, gateway: IpAddress, prefix: Prefix): boolean {
  return prefix.length === entry.prefix.length || prefixContains(prefix, gateway)
}

/**
 * Gives each gateway of CNI_ARGS to the addresses in whose subnet it is.
 * @throws CniError 4 for what is no address, and for one that is in no subnet
 */
export function withGateways(addresses: readonly StaticAddress[], texts: readonly string[]): StaticAddress[] {
  const given = texts.map(text => {
    const gateway = parseAddress(text)
    if (gateway === undefined)
      throw new CniError(
        ErrorCode.invalidEnvironment,
        `GATEWAY in CNI_ARGS is "${text}", but must be an address`,
        'write it without a prefix length: "10.1.0.1"; several with commas between them',
      )
    if (addresses.some(({ prefix }) => prefixContains(prefix, gateway))) return gateway
    throw new CniError(
      ErrorCode.invalidEnvironment,
      `GATEWAY in CNI_ARGS is ${text}, which is in the subnet of no address`,
      `the addresses are ${addresses.map(({ prefix }) => formatPrefix(prefix)).join(', ') || 'none'}`,
    )
  })
  return addresses.map(one => ({
    ...one,
    gateway: given.findLast(gateway => prefixContains(one.prefix, gateway)) ?? one.gateway,
  }))
}

/** Whether the kernel would take the second for the first: in IPv6 the prefix length makes no difference to it. */
export function isSame({ prefix: a }: StaticAddress, { prefix: b }: StaticAddress): boolean {
  return equalAddresses(a.address, b.address) && (a.length === b.length || familyOf(a.address) === 6)
}

/** @throws CniError with the source's code */
export function refuseTwice(addresses: readonly StaticAddress[]): void {
  for (const [index, one] of addresses.entries()) {
    const other = addresses.slice(0, index).find(earlier => isSame(earlier, one))
    if (other === undefined) continue
    throw new CniError(
      one.source.code,
      `${quoted(one.source)} is ${formatPrefix(one.prefix)}, which ${quoted(other.source)} is already`,
      'an interface cannot have an address twice: remove one of the two',
    )
  }
}

/** @throws CniError with the source's code for an address that no interface can have */
function refuseUnusable(prefix: Prefix, source: Source): void {
  const what = unusable(prefix)
  if (what === undefined) return
  throw new CniError(
    source.code,
    `${quoted(source)} is ${formatPrefix(prefix)}, ${what}`,
    'give the address that the container is to have, with the prefix length of its subnet',
  )
}

/** A /31 (RFC 3021) and a /32 have neither network nor broadcast address. */
function unusable(prefix: Prefix): string | undefined {
  const { address, length } = prefix
  if (isMulticast(address)) return 'a multicast address'
  if (address.every(byte => byte === 0)) return 'the unspecified address'
  if (familyOf(address) === 6 || length > 30) return undefined
  if (equalAddresses(address, networkAddress(prefix))) return 'the address of the network itself'
  if (equalAddresses(address, lastAddress(prefix))) return "the subnet's broadcast address"
  return undefined
}

function notUnderstood(text: string, source: Source): CniError {
  return new CniError(
    source.code,
    `${quoted(source)} is ${JSON.stringify(text)}, but must be an address with its prefix length`,
    '"10.1.0.5/24", "2001:db8::5/64"; several in CNI_ARGS with commas between them',
  )
}

/** Keys stand in quotation marks, as in the errors of the schema. */
function quoted({ name }: Source): string {
  return name.includes(' ') ? name : `"${name}"`
}
