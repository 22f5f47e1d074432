/** struct ifinfomsg, with which every message about a link begins. @see linux/rtnetlink.h, linux/if.h */

import { i32, struct, u8, u16, u32 } from '../../codec.ts'

export const linkHeader = struct({
  family: u8,
  padding: 1,
  /** ARPHRD_*, linux/if_arp.h */
  type: u16,
  index: i32,
  flags: u32,
  /** The flags that are to be changed. */
  change: u32,
})

/** IFF_* */
export const LinkFlag = {
  up: 0x1,
  broadcast: 0x2,
  loopback: 0x8,
  pointToPoint: 0x10,
  running: 0x40,
  noArp: 0x80,
  promiscuous: 0x100,
  allMulticast: 0x200,
  multicast: 0x1000,
  lowerUp: 0x10000,
} as const
