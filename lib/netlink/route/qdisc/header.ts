/** struct tcmsg, with which every message about traffic control begins. @see linux/rtnetlink.h, linux/pkt_sched.h */

import { i32, struct, u8, u32 } from '../../codec.ts'

export const trafficControlHeader = struct({
  family: u8,
  padding: 3,
  /** Of the link. */
  index: i32,
  handle: u32,
  parent: u32,
  /** Of a filter: its priority and protocol. Of a qdisc that is reported: how many use it. */
  info: u32,
})

/** Where a qdisc is attached: TC_H_ROOT takes what is sent, TC_H_INGRESS what is received (and, for clsact, both). */
export const QdiscParent = { root: 0xffff_ffff, ingress: 0xffff_fff1 } as const

/** Where a filter of a clsact or ingress qdisc is asked: for what is received, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS). */
export const RECEIVED = 0xffff_fff2

/** The number of a qdisc: `qdiscHandle(1)` is what tc(8) writes as "1:". */
export function qdiscHandle(major: number): number {
  return major * 0x1_0000
}
