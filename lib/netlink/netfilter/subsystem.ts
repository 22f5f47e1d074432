/** What every netfilter netlink message has. @see linux/netfilter/nfnetlink.h */

import { struct, u8, u16be } from '../codec.ts'

/** struct nfgenmsg. In batch messages `resource` is the subsystem; in nftables answers, 16 bits of the generation. */
export const netfilterHeader = struct({ family: u8, version: u8, resource: u16be })

/** NFNL_SUBSYS_* */
export const Subsystem = { none: 0, conntrack: 1, nftables: 10 } as const

/** The type of a message: its subsystem in the upper byte. */
export function messageType(subsystem: number, message: number): number {
  return (subsystem << 8) | message
}

/** NFPROTO_*: to which packets a table applies. */
export const NetfilterFamily = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 } as const
export type NetfilterFamilyName = keyof typeof NetfilterFamily

/** A message format of netfilter: the common header and these attributes. */
export function netfilterFormat<T>(attributes: T) {
  return { header: netfilterHeader, attributes }
}
