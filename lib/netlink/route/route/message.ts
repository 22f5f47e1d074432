/** Messages about routes. @see linux/rtnetlink.h, struct rtmsg, RTA_*, RTAX_* */

import {
  attributeTable,
  type Codec,
  decodeAttributes,
  encodeAttributes,
  i32,
  nested,
  string,
  struct,
  u8,
  u16,
  u32,
  type Values,
} from '../../codec.ts'
import { ipAddress } from '../value-codecs.ts'

const routeHeader = struct({
  family: u8,
  destinationLength: u8,
  sourceLength: u8,
  tos: u8,
  /** The table's number when it is below 256; RTA_TABLE has it in any case. */
  table: u8,
  protocol: u8,
  scope: u8,
  type: u8,
  flags: u32,
})

/** RTA_METRICS. */
export const metricAttributes = attributeTable('RTAX', {
  /** Bits by metric number: the kernel may not change these. */
  lock: [1, u32],
  mtu: [2, u32],
  window: [3, u32],
  rtt: [4, u32],
  rttvar: [5, u32],
  ssthresh: [6, u32],
  cwnd: [7, u32],
  advmss: [8, u32],
  reordering: [9, u32],
  hoplimit: [10, u32],
  initcwnd: [11, u32],
  features: [12, u32],
  rtoMin: [13, u32],
  initrwnd: [14, u32],
  quickack: [15, u32],
  ccAlgo: [16, string],
  fastopenNoCookie: [17, u32],
})

/** RTA_VIA: a next hop of another family than the destination. struct rtvia */
const via: Codec<{ family: number; address: Uint8Array<ArrayBuffer> }> = {
  encode(writer, value) {
    writer.u16(value.family)
    writer.bytes(value.address)
  },
  decode: reader => ({ family: reader.u16(), address: reader.bytes(reader.remaining) }),
}

const nextHopAttributes = attributeTable('RTA', { gateway: [5, ipAddress], via: [18, via] })

/** One of several next hops, with struct rtnexthop before its attributes. */
export interface NextHopMessage {
  readonly flags: number
  /** Weight minus one. */
  readonly hops: number
  readonly index: number
  readonly attributes: Values<typeof nextHopAttributes>
}

const RTNEXTHOP_BYTES = 8

/** RTA_MULTIPATH is no attribute list: each next hop has its length first, padding not counted. */
const multipath: Codec<NextHopMessage[]> = {
  encode(writer, hops) {
    for (const hop of hops) {
      const start = writer.length
      writer.u16(0)
      writer.u8(hop.flags)
      writer.u8(hop.hops)
      writer.u32(hop.index)
      encodeAttributes(writer, nextHopAttributes, hop.attributes)
      writer.patchU16(start, writer.length - start)
    }
  },
  decode(reader) {
    const hops: NextHopMessage[] = []
    while (reader.remaining >= RTNEXTHOP_BYTES) {
      const length = reader.u16()
      const [flags, count, index] = [reader.u8(), reader.u8(), reader.i32()]
      const attributes = decodeAttributes(reader.slice(length - RTNEXTHOP_BYTES), nextHopAttributes)
      hops.push({ flags, hops: count, index, attributes })
      reader.align(4)
    }
    return hops
  },
}

export const routeFormat = {
  header: routeHeader,
  attributes: attributeTable('RTA', {
    dst: [1, ipAddress],
    src: [2, ipAddress],
    iif: [3, u32],
    oif: [4, u32],
    gateway: [5, ipAddress],
    priority: [6, u32],
    prefsrc: [7, ipAddress],
    metrics: [8, nested(metricAttributes)],
    multipath: [9, multipath],
    cacheinfo: [
      12,
      struct({ clntref: u32, lastuse: u32, expires: i32, error: i32, used: u32, id: u32, ts: u32, tsage: u32 }),
    ],
    table: [15, u32],
    mark: [16, u32],
    via: [18, via],
    pref: [20, u8],
    encapType: [21, u16],
    expires: [23, u32],
    uid: [25, u32],
    ttlPropagate: [26, u8],
    ipProto: [27, u8],
    nhId: [30, u32],
  }),
}

export type RouteHeader = ReturnType<typeof routeHeader.decode>
