/** An address of a link as the kernel reports it. @see linux/if_addr.h */

import { equalAddresses, type Family, type IpAddress } from '../../../address/address.ts'
import type { Prefix } from '../../../address/prefix.ts'
import { attributeTable, string, struct, u8, u32 } from '../../codec.ts'
import type { Answer } from '../../message.ts'
import { anyAddress, familyFromNumber } from '../family.ts'
import { present } from '../present.ts'
import { ipAddress } from '../value-codecs.ts'

export const addressFormat = {
  /** struct ifaddrmsg */
  header: struct({ family: u8, prefixLength: u8, flags: u8, scope: u8, index: u32 }),
  attributes: attributeTable('IFA', {
    /** The other end of a point-to-point link; elsewhere, and always in IPv6 without a peer, the address itself. */
    address: [1, ipAddress],
    local: [2, ipAddress],
    label: [3, string],
    broadcast: [4, ipAddress],
    /** Lifetimes in seconds, then times in hundredths of a second since boot. */
    cacheinfo: [6, struct({ preferred: u32, valid: u32, created: u32, updated: u32 })],
    flags: [8, u32],
    rtPriority: [9, u32],
    proto: [11, u8],
  }),
}

/** IFA_F_* */
export const AddressFlag = {
  secondary: 0x1,
  noDad: 0x2,
  optimistic: 0x4,
  dadFailed: 0x8,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
  noPrefixRoute: 0x200,
} as const

/** A lifetime that does not end. */
export const FOREVER = 0xffffffff

export interface Address {
  /** Of the link. */
  readonly index: number
  readonly family: Family
  /** The address with the length of its network part. */
  readonly prefix: Prefix
  /** The other end of a point-to-point link. */
  readonly peer?: IpAddress
  readonly broadcast?: IpAddress
  readonly label?: string
  /** RT_SCOPE_*: 0 global, 253 link, 254 host. */
  readonly scope: number
  /** Bits of AddressFlag. */
  readonly flags: number
  /** Duplicate address detection is under way: the address does not answer yet. */
  readonly tentative: boolean
  /** Duplicate address detection found another owner. */
  readonly dadFailed: boolean
  /** Seconds; absent when it does not end. */
  readonly validSeconds?: number
  readonly preferredSeconds?: number
  /** Priority of the route that the kernel adds for the prefix; absent for the default. */
  readonly priority?: number
}

type AddressAnswer = Answer<
  { family?: number; prefixLength?: number; flags?: number; scope?: number; index?: number },
  (typeof addressFormat)['attributes']
>

/** Undefined for an address that is not IP. */
export function decodeAddress({ header, attributes }: AddressAnswer): Address | undefined {
  const family = familyFromNumber(header.family)
  if (family === undefined) return undefined
  const flags = attributes.flags ?? header.flags ?? 0
  const local = attributes.local ?? attributes.address ?? anyAddress(family)
  const seconds = (value: number | undefined) => (value === FOREVER ? undefined : value)
  return {
    index: header.index ?? 0,
    family,
    prefix: { address: local, length: header.prefixLength ?? 0 },
    scope: header.scope ?? 0,
    flags,
    tentative: (flags & AddressFlag.tentative) !== 0,
    dadFailed: (flags & AddressFlag.dadFailed) !== 0,
    ...present({
      peer: isSame(attributes.address, local) ? undefined : attributes.address,
      broadcast: attributes.broadcast,
      label: attributes.label,
      validSeconds: seconds(attributes.cacheinfo?.valid),
      preferredSeconds: seconds(attributes.cacheinfo?.preferred),
      priority: attributes.rtPriority,
    }),
  }
}

function isSame(a: IpAddress | undefined, b: IpAddress): boolean {
  return a !== undefined && equalAddresses(a, b)
}
