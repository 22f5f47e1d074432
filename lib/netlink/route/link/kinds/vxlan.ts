/** VXLAN devices: `ip link add type vxlan`. @see linux/if_link.h, IFLA_VXLAN_* */

import type { IpAddress } from '../../../../address/address.ts'
import { attributeTable, flag, struct, u8, u16be, u32, u32be, type Values } from '../../../codec.ts'
import { boolean8, ipAddress, named } from '../../value-codecs.ts'

const fragmentation = { unset: 0, set: 1, inherit: 2 } as const

export const vxlanAttributes = attributeTable('IFLA_VXLAN', {
  /** The VXLAN network identifier, 24 bits. */
  id: [1, u32],
  group: [2, ipAddress],
  /** Index of the link that carries the packets. */
  link: [3, u32],
  local: [4, ipAddress],
  ttl: [5, u8],
  tos: [6, u8],
  learning: [7, boolean8],
  /** Seconds until a learned entry is forgotten. */
  ageing: [8, u32],
  limit: [9, u32],
  portRange: [10, struct({ low: u16be, high: u16be })],
  proxy: [11, boolean8],
  rsc: [12, boolean8],
  l2miss: [13, boolean8],
  l3miss: [14, boolean8],
  /** UDP port that receives; the kernel's default, 8472, is not IANA's 4789. */
  port: [15, u16be],
  group6: [16, ipAddress],
  local6: [17, ipAddress],
  udpCsum: [18, boolean8],
  udpZeroCsum6Tx: [19, boolean8],
  udpZeroCsum6Rx: [20, boolean8],
  remcsumTx: [21, boolean8],
  remcsumRx: [22, boolean8],
  gbp: [23, flag],
  remcsumNopartial: [24, flag],
  collectMetadata: [25, boolean8],
  label: [26, u32be],
  gpe: [27, flag],
  ttlInherit: [28, flag],
  df: [29, named(u8, fragmentation)],
  vnifilter: [30, boolean8],
  localbypass: [31, boolean8],
})

type VxlanAttributes = Values<typeof vxlanAttributes>

/** What a VXLAN device is set to. `group` and `local` may be of either family. */
export type VxlanSettings = Omit<VxlanAttributes, 'group6' | 'local6'>

const isIpv6 = (address: IpAddress | undefined) => address?.length === 16

/** Each family has attributes of its own for group and local address. */
export function vxlanToAttributes({ group, local, ...rest }: VxlanSettings): VxlanAttributes {
  return {
    ...rest,
    ...(isIpv6(group) ? { group6: group } : { group }),
    ...(isIpv6(local) ? { local6: local } : { local }),
  }
}

export function vxlanFromAttributes({ group6, local6, ...rest }: VxlanAttributes): VxlanSettings {
  return {
    ...rest,
    ...(group6 === undefined ? {} : { group: group6 }),
    ...(local6 === undefined ? {} : { local: local6 }),
  }
}
