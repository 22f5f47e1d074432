/** A limit in the numbers of the kernel's token bucket filter. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import { TICKS_PER_SECOND, type TokenBucket } from '../../lib/netlink/route/qdisc/index.ts'
import type { Limit } from './config.ts'

const UINT32_MAX = 0xffff_ffff

/**
 * The kernel counts the burst in the time that it takes at the rate, and in 32 bits: of a burst that takes longer than 274
 * seconds (the one that Kubernetes' runtimes ask for, 512 MiB, at less than 15 Mbit/s) so much is kept. What may wait is
 * what the rate lets pass within the latency, beyond the burst: tc(8) counts likewise.
 */
export function tokenBucketOf({ rate, burst }: Limit, latencyMs: number): TokenBucket {
  const buffer = Math.min(Math.ceil((burst * TICKS_PER_SECOND) / rate), UINT32_MAX)
  const kept = Math.min(burst, Math.floor((buffer * rate) / TICKS_PER_SECOND))
  return { rate, buffer, limit: Math.min(Math.floor((rate * latencyMs) / 1000) + kept, UINT32_MAX) }
}

/** sizeof(struct ethhdr): a packet's length here is that of its frame. */
const ETHERNET_HEADER = 14

/** The kernel drops packets that are longer than the burst. @throws CniError code 7 */
export function refuseSmallBurst({ burstKey, burst }: Limit, { name, mtu }: Link): void {
  const needed = mtu + ETHERNET_HEADER
  if (burst >= needed) return
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `${burstKey} is ${burst} bytes, less than a packet of "${name}": longer ones would all be dropped`,
    `give at least ${needed * 8} (bits: MTU ${mtu}, and ${ETHERNET_HEADER} bytes of Ethernet header)`,
  )
}
