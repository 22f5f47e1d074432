/** Token bucket filters: `tc qdisc add ... tbf rate RATE burst BYTES limit BYTES`. @see linux/pkt_sched.h, TCA_TBF_* */

import { attributeTable, struct, u8, u32, u64, type Values } from '../../../codec.ts'

export const tbfAttributes = attributeTable('TCA_TBF', {
  /** struct tc_tbf_qopt */
  parms: [
    1,
    struct({
      // struct tc_ratespec of the rate
      cellLog: 1,
      /** TC_LINKLAYER_* */
      linkLayer: u8,
      overheadCellAlignAndMpu: 6,
      /** Bytes per second, or all ones when TCA_TBF_RATE64 has it. */
      rate: u32,
      // struct tc_ratespec of the peak rate
      peakRate: 12,
      limit: u32,
      buffer: u32,
      mtu: u32,
    }),
  ],
  rate64: [4, u64],
})

/** A bucket of tokens: so many bytes may pass at once when it is full, and it is filled at the rate. */
export interface TokenBucket {
  /** Bytes per second. */
  readonly rate: number
  /** How long filling the bucket takes, in the scheduler's ticks ({@link TICKS_PER_SECOND}), 2^32 - 1 at most. */
  readonly buffer: number
  /** How many bytes may wait for tokens; what comes then is dropped. */
  readonly limit: number
}

/** PSCHED_SHIFT of net/pkt_sched.h: a tick is 64 ns, on all kernels since 2.6.31. /proc/net/psched tells it. */
export const TICKS_PER_SECOND = 15_625_000

/** TC_LINKLAYER_ETHERNET: a packet counts with its bytes, and the kernel needs no table of what lengths cost. */
const ETHERNET = 1
const UINT32_MAX = 0xffff_ffff

export function tbfToAttributes({ rate, buffer, limit }: TokenBucket): Values<typeof tbfAttributes> {
  return {
    parms: { linkLayer: ETHERNET, rate: Math.min(rate, UINT32_MAX), limit, buffer },
    rate64: rate > UINT32_MAX ? BigInt(rate) : undefined,
  }
}

export function tbfFromAttributes({ parms = {}, rate64 }: Values<typeof tbfAttributes>): TokenBucket {
  return {
    rate: rate64 === undefined ? (parms.rate ?? 0) : Number(rate64),
    buffer: parms.buffer ?? 0,
    limit: parms.limit ?? 0,
  }
}
