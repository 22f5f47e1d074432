/**
 * Connections that the kernel tracks. Those made under an older NAT rule keep to it: whoever changes what a port leads
 * to deletes them, or UDP clients that never pause go on talking to a container that is gone.
 * @see linux/netfilter/nfnetlink_conntrack.h, CTA_*
 */

import { equalAddresses, type IpAddress } from '../../address/address.ts'
import { Errno } from '../../sys/errno.ts'
import { attributeTable, bytes, nested, u8, u16be, u32, u32be, type Values } from '../codec.ts'
import { NLM_F, type Request, request } from '../message.ts'
import type { NetlinkSocket } from '../socket.ts'
import { messageType, NetfilterFamily, netfilterFormat, Subsystem } from './subsystem.ts'

/** IPCTNL_MSG_CT_* */
const ConntrackMessage = { get: 1, delete: 2 } as const

const ipAttributes = attributeTable('CTA_IP', {
  v4Src: [1, bytes],
  v4Dst: [2, bytes],
  v6Src: [3, bytes],
  v6Dst: [4, bytes],
})
const protoAttributes = attributeTable('CTA_PROTO', {
  num: [1, u8],
  srcPort: [2, u16be],
  dstPort: [3, u16be],
  icmpId: [4, u16be],
  icmpType: [5, u8],
  icmpCode: [6, u8],
  icmpv6Id: [7, u16be],
  icmpv6Type: [8, u8],
  icmpv6Code: [9, u8],
})
const tupleAttributes = attributeTable('CTA_TUPLE', {
  ip: [1, nested(ipAttributes)],
  proto: [2, nested(protoAttributes)],
  zone: [3, u16be],
})
const conntrackAttributes = attributeTable('CTA', {
  tupleOrig: [1, nested(tupleAttributes)],
  tupleReply: [2, nested(tupleAttributes)],
  status: [3, u32be],
  /** Seconds until it expires. */
  timeout: [7, u32be],
  mark: [8, u32be],
  id: [12, u32be],
  zone: [18, u16be],
  filter: [25, nested(attributeTable('CTA_FILTER', { origFlags: [1, u32], replyFlags: [2, u32] }))],
})

const conntrackFormat = netfilterFormat(conntrackAttributes)
type TupleValues = Values<typeof tupleAttributes>

/** One direction of a connection, or what is asked of it. */
export interface Tuple {
  readonly source?: IpAddress
  readonly destination?: IpAddress
  /** IPPROTO_*: 6 is TCP, 17 UDP. */
  readonly protocol?: number
  readonly sourcePort?: number
  readonly destinationPort?: number
}

export interface Connection {
  /** As the first packet came in. */
  readonly original: Tuple
  /** As answers are expected: what NAT changes shows here. */
  readonly reply: Tuple
  /** The kernel's, which no other connection has. */
  readonly id: number
}

/** What a connection must be like in either direction; what is left out does not matter. */
export interface ConnectionFilter {
  readonly family: 'ip' | 'ip6'
  readonly original?: Tuple
  readonly reply?: Tuple
}

/** CTA_FILTER_F_CTA_*: which parts of the tuples in a dump request count. */
const FilterFlag = { source: 1, destination: 2, protocol: 8, sourcePort: 16, destinationPort: 32 } as const
const parts = Object.keys(FilterFlag) as (keyof typeof FilterFlag)[]

function toTuple(values: TupleValues | undefined): Tuple {
  const { ip, proto } = values ?? {}
  const [source, destination] = [ip?.v4Src ?? ip?.v6Src, ip?.v4Dst ?? ip?.v6Dst]
  return {
    ...(source && { source: Uint8Array.from(source) }),
    ...(destination && { destination: Uint8Array.from(destination) }),
    ...(proto?.num !== undefined && { protocol: proto.num }),
    ...(proto?.srcPort !== undefined && { sourcePort: proto.srcPort }),
    ...(proto?.dstPort !== undefined && { destinationPort: proto.dstPort }),
  }
}

function fromTuple(family: 'ip' | 'ip6', tuple: Tuple): TupleValues {
  const { source, destination, protocol, sourcePort, destinationPort } = tuple
  return {
    ip: family === 'ip' ? { v4Src: source, v4Dst: destination } : { v6Src: source, v6Dst: destination },
    proto: { num: protocol, srcPort: sourcePort, dstPort: destinationPort },
  }
}

function flagsOf(tuple: Tuple): number {
  return parts.reduce((flags, part) => (tuple[part] === undefined ? flags : flags | FilterFlag[part]), 0)
}

function matches(wanted: Tuple | undefined, tuple: Tuple): boolean {
  return parts.every(part => {
    const [want, have] = [wanted?.[part], tuple[part]]
    if (want === undefined) return true
    if (typeof want === 'object') return typeof have === 'object' && equalAddresses(want, have)
    return want === have
  })
}

/**
 * What of a tuple the kernel may be asked to filter by. It compares ports only together with the protocol; and of IPv6
 * addresses it leaves out those that are equal, and not those that differ (ctnetlink_filter_match_tuple in Linux 6.18).
 */
function kernelPart(family: 'ip' | 'ip6', tuple: Tuple = {}): Tuple {
  const { source, destination, protocol, sourcePort, destinationPort } = tuple
  return {
    ...(family === 'ip' && source && { source }),
    ...(family === 'ip' && destination && { destination }),
    ...(protocol !== undefined && { protocol }),
    ...(protocol !== undefined && sourcePort !== undefined && { sourcePort }),
    ...(protocol !== undefined && destinationPort !== undefined && { destinationPort }),
  }
}

/** The kernel's filter spares reading most answers; those of Linux before 5.8, which has none, are all of them. */
function dumpRequest({ family, ...filter }: ConnectionFilter): Request {
  const [original, reply] = [kernelPart(family, filter.original), kernelPart(family, filter.reply)]
  const [origFlags, replyFlags] = [flagsOf(original), flagsOf(reply)]
  return request(conntrackFormat, {
    type: messageType(Subsystem.conntrack, ConntrackMessage.get),
    operation: `list tracked connections of family ${family}`,
    header: { family: NetfilterFamily[family] },
    attributes: {
      ...(origFlags !== 0 && { tupleOrig: fromTuple(family, original) }),
      ...(replyFlags !== 0 && { tupleReply: fromTuple(family, reply) }),
      ...((origFlags | replyFlags) !== 0 && { filter: { origFlags, replyFlags } }),
    },
  })
}

function dump(socket: NetlinkSocket, filter: ConnectionFilter): Values<typeof conntrackAttributes>[] {
  return socket
    .dump(conntrackFormat, dumpRequest(filter))
    .map(answer => answer.attributes)
    .filter(
      values =>
        matches(filter.original, toTuple(values.tupleOrig)) && matches(filter.reply, toTuple(values.tupleReply)),
    )
}

/** The tracked connections of the socket's network namespace. @throws NetlinkError */
export function listConnections(socket: NetlinkSocket, filter: ConnectionFilter): Connection[] {
  return dump(socket, filter).map(toConnection)
}

function toConnection({ tupleOrig, tupleReply, id = 0 }: Values<typeof conntrackAttributes>): Connection {
  return { original: toTuple(tupleOrig), reply: toTuple(tupleReply), id }
}

/** Whether the connection's destination or source was changed: its answers are expected elsewhere than it was sent. */
export function isTranslated({ original, reply }: Connection): boolean {
  const same = (a: IpAddress | undefined, b: IpAddress | undefined) => a && b && equalAddresses(a, b)
  return (
    !same(original.destination, reply.source) ||
    !same(original.source, reply.destination) ||
    original.destinationPort !== reply.sourcePort ||
    original.sourcePort !== reply.destinationPort
  )
}

/** How many deletions go into one send. */
const CHUNK = 100

/**
 * Deletes the connections that the filter finds, each by its tuple and identifier: a request by a part of the tuple
 * would make older kernels delete everything.
 * @param which of those found; all when left out
 * @returns how many were found
 * @throws TypeError for a filter that asks for nothing; NetlinkError
 */
export function deleteConnections(
  socket: NetlinkSocket,
  filter: ConnectionFilter,
  which: (connection: Connection) => boolean = () => true,
): number {
  if (flagsOf(filter.original ?? {}) === 0 && flagsOf(filter.reply ?? {}) === 0) {
    throw new TypeError('a filter for deleting connections must name an address, a protocol or a port')
  }
  const found = dump(socket, filter).filter(values => which(toConnection(values)))
  const requests = found.map(({ tupleOrig, zone, id }) =>
    request(conntrackFormat, {
      type: messageType(Subsystem.conntrack, ConntrackMessage.delete),
      flags: NLM_F.ACK,
      operation: 'delete tracked connection',
      header: { family: NetfilterFamily[filter.family] },
      attributes: { tupleOrig, zone, id },
    }),
  )
  for (let start = 0; start < requests.length; start += CHUNK) {
    // It may have ended meanwhile.
    socket.executeAll(requests.slice(start, start + CHUNK), { expected: [Errno.ENOENT] })
  }
  return found.length
}
