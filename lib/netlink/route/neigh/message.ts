/** Messages about neighbours and forwarding entries of bridges and VXLANs. @see linux/neighbour.h */

import { attributeTable, i32, struct, u8, u16, u16be, u32 } from '../../codec.ts'
import { ipAddress, mac } from '../value-codecs.ts'

export const neighbourFormat = {
  /** struct ndmsg */
  header: struct({ family: u8, padding: 3, index: i32, state: u16, flags: u8, type: u8 }),
  attributes: attributeTable('NDA', {
    dst: [1, ipAddress],
    lladdr: [2, mac],
    /** Times in hundredths of a second since something happened. */
    cacheinfo: [3, struct({ confirmed: u32, used: u32, updated: u32, references: u32 })],
    probes: [4, u32],
    vlan: [5, u16],
    port: [6, u16be],
    vni: [7, u32],
    ifindex: [8, u32],
    master: [9, u32],
    linkNetnsid: [10, i32],
    srcVni: [11, u32],
    protocol: [12, u8],
    nhId: [13, u32],
    flagsExt: [15, u32],
  }),
}

export interface NeighbourHeader {
  family?: number
  index?: number
  state?: number
  flags?: number
  type?: number
}

/** NUD_* */
export const neighbourStates = {
  none: 0,
  incomplete: 0x1,
  reachable: 0x2,
  stale: 0x4,
  delay: 0x8,
  probe: 0x10,
  failed: 0x20,
  noarp: 0x40,
  permanent: 0x80,
} as const

/** NTF_* */
export const NeighbourFlag = {
  self: 0x2,
  master: 0x4,
  proxy: 0x8,
  extLearned: 0x10,
  offloaded: 0x20,
  sticky: 0x40,
  router: 0x80,
} as const
