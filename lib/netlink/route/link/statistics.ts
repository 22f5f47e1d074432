/** Counters of a link since it was made. @see linux/if_link.h, struct rtnl_link_stats64 */

import { type Codec, type StructValue, struct, u64 } from '../../codec.ts'

const counters = {
  rxPackets: u64,
  txPackets: u64,
  rxBytes: u64,
  txBytes: u64,
  rxErrors: u64,
  txErrors: u64,
  rxDropped: u64,
  txDropped: u64,
  multicast: u64,
  collisions: u64,
  rxLengthErrors: u64,
  rxOverErrors: u64,
  rxCrcErrors: u64,
  rxFrameErrors: u64,
  rxFifoErrors: u64,
  rxMissedErrors: u64,
  txAbortedErrors: u64,
  txCarrierErrors: u64,
  txFifoErrors: u64,
  txHeartbeatErrors: u64,
  txWindowErrors: u64,
  rxCompressed: u64,
  txCompressed: u64,
  rxNohandler: u64,
} as const

/** IFLA_STATS64. Kernels append counters; those that are not named here are passed over. */
export const linkStatistics: Codec<LinkStatistics> = struct(counters) as Codec<LinkStatistics>

export type LinkStatistics = Required<StructValue<typeof counters>>
