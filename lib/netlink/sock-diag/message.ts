/** Messages about IP sockets. @see linux/inet_diag.h, linux/sock_diag.h */

import { attributeTable, bytes, type Codec, struct, u8, u16be, u32, u64 } from '../codec.ts'
import { boolean8 } from '../route/value-codecs.ts'

/** SOCK_DIAG_BY_FAMILY, the type of requests and of answers. */
export const SOCK_DIAG_BY_FAMILY = 20

/** TCP_* of include/net/tcp_states.h, which the sockets of every protocol use. */
export const SocketState = { close: 7, listen: 10 } as const

/** struct inet_diag_req_v2, with INET_DIAG_REQ_*: the kernel has one table for requests and one for answers. */
export const socketRequestFormat = {
  header: struct({
    family: u8,
    protocol: u8,
    /** Bits of what answers are to have beyond what they always have. */
    extensions: u8,
    padding: 1,
    /** Bits of the states that are asked for. */
    states: u32,
    /** struct inet_diag_sockid: dumps of all sockets have zeros there. */
    id: 48,
  }),
  attributes: attributeTable('INET_DIAG_REQ', { bytecode: [1, bytes] }),
}

const before = struct({ family: u8, state: u8, timer: u8, retrans: u8, sourcePort: u16be, destinationPort: u16be })
const after = struct({
  /** Of the link that the socket is bound to; 0 for none. */
  index: u32,
  cookie: u64,
  expires: u32,
  receiveQueue: u32,
  sendQueue: u32,
  uid: u32,
  inode: u32,
})

type Addresses = { source: Uint8Array<ArrayBuffer>; destination: Uint8Array<ArrayBuffer> }
type SocketHeader = ReturnType<typeof before.decode> & Addresses & ReturnType<typeof after.decode>

/** Room for an IPv6 address; an IPv4 address stands in its first bytes. */
const ADDRESS_BYTES = 16

/** struct inet_diag_msg */
const socketHeader: Codec<SocketHeader> = {
  encode(writer, value) {
    before.encode(writer, value, {})
    writer.bytes(value.source)
    writer.bytes(value.destination)
    after.encode(writer, value, {})
  },
  decode: reader => ({
    ...before.decode(reader, {}),
    source: reader.bytes(ADDRESS_BYTES),
    destination: reader.bytes(ADDRESS_BYTES),
    ...after.decode(reader, {}),
  }),
}

export const socketFormat = {
  header: socketHeader,
  attributes: attributeTable('INET_DIAG', {
    skv6only: [11, boolean8],
    /** SCTP: the local addresses, each a struct sockaddr_storage. */
    locals: [12, bytes],
    mark: [15, u32],
    /** The number of the control group's directory (Linux 5.9). */
    cgroupId: [21, u64],
  }),
}
