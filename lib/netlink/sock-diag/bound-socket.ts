/** Sockets that take what arrives at a port of their host, as in `ss -lntuS`. */

import { type Family, type IpAddress, unmapAddress } from '../../address/address.ts'
import { allocate } from '../../sys/bytes.ts'
import type { Answer } from '../message.ts'
import { request } from '../message.ts'
import { AddressFamily, familyFromNumber, familyNumber } from '../route/family.ts'
import { present } from '../route/present.ts'
import type { NetlinkSocket } from '../socket.ts'
import { SOCK_DIAG_BY_FAMILY, SocketState, socketFormat, socketRequestFormat } from './message.ts'
import { encodePortFilter, portRanges } from './port-filter.ts'

export type Transport = 'tcp' | 'udp' | 'sctp'

/** IPPROTO_*, and the state in which a socket waits for whoever comes: a UDP socket does unless it is connected. */
const transports: Readonly<Record<Transport, { readonly number: number; readonly state: number }>> = {
  tcp: { number: 6, state: SocketState.listen },
  udp: { number: 17, state: SocketState.close },
  sctp: { number: 132, state: SocketState.listen },
}

export interface BoundSocket {
  readonly transport: Transport
  readonly port: number
  /** What it is bound to; 0.0.0.0 or "::" for every address. IPv4 for an IPv6 socket on an IPv4-mapped address. */
  readonly address: IpAddress
  /** Whether one bound to "::" leaves IPv4 to others. */
  readonly v6Only: boolean
  /** Of the link (SO_BINDTODEVICE); absent when it takes from every link. */
  readonly index?: number
  /** The user's number, as the asking process sees it. */
  readonly uid: number
  /** As in /proc/PID/fd: "socket:[inode]". */
  readonly inode: number
  /** The number of the control group's directory; absent before Linux 5.9. */
  readonly cgroupId?: bigint
}

/**
 * The sockets of the transport that wait on one of the ports, in the socket's namespace. One that is bound to several
 * addresses (SCTP) is there with each.
 * @throws NetlinkError, ENOENT when the kernel cannot tell (it lacks tcp_diag, udp_diag or sctp_diag)
 */
export function listBoundSockets(
  socket: NetlinkSocket,
  transport: Transport,
  ports: readonly number[],
): readonly BoundSocket[] {
  if (ports.length === 0) return []
  const wanted = new Set(ports)
  const bytecode = encodePortFilter(portRanges(ports))
  const found: BoundSocket[] = []
  // The kernel has no request for both families.
  for (const family of [4, 6] as const) {
    const answers = socket.dump(socketFormat, boundSocketsRequest(transport, family, bytecode))
    for (const answer of answers) {
      const { state, sourcePort = 0 } = answer.header
      if (state === transports[transport].state && wanted.has(sourcePort))
        found.push(...decodeBoundSocket(transport, answer))
    }
  }
  return found
}

/** @param bytecode encodePortFilter() */
export function boundSocketsRequest(transport: Transport, family: Family, bytecode: Uint8Array<ArrayBuffer>) {
  const { number, state } = transports[transport]
  return request(socketRequestFormat, {
    type: SOCK_DIAG_BY_FAMILY,
    operation: `list IPv${family} sockets of ${transport.toUpperCase()}`,
    header: { family: familyNumber(family), protocol: number, states: 1 << state },
    attributes: { bytecode },
  })
}

type SocketAnswer = Answer<ReturnType<(typeof socketFormat)['header']['decode']>, (typeof socketFormat)['attributes']>

/** One for each address that the socket is bound to; none for a family that is not IP. */
export function decodeBoundSocket(transport: Transport, { header, attributes }: SocketAnswer): BoundSocket[] {
  const family = familyFromNumber(header.family)
  if (family === undefined) return []
  const own = family === 4 ? header.source.slice(0, 4) : header.source
  const addresses = attributes.locals === undefined ? [] : localAddresses(attributes.locals)
  return (addresses.length === 0 ? [own] : addresses).map(address => ({
    transport,
    port: header.sourcePort ?? 0,
    address: unmapAddress(address),
    v6Only: attributes.skv6only ?? false,
    uid: header.uid ?? 0,
    inode: header.inode ?? 0,
    ...present({ index: header.index || undefined, cgroupId: attributes.cgroupId }),
  }))
}

/** sizeof(struct sockaddr_storage), and where sockaddr_in and sockaddr_in6 have the address. */
const STORAGE_BYTES = 128
const ADDRESS_PLACE = { 4: [4, 8], 6: [8, 24] } as const

function localAddresses(locals: Uint8Array): IpAddress[] {
  const addresses: IpAddress[] = []
  const view = new DataView(locals.buffer, locals.byteOffset, locals.length)
  for (let start = 0; start + STORAGE_BYTES <= locals.length; start += STORAGE_BYTES) {
    const family = view.getUint16(start, true) === AddressFamily.ipv4 ? 4 : 6
    const [from, to] = ADDRESS_PLACE[family]
    const address = allocate(to - from)
    address.set(locals.subarray(start + from, start + to))
    addresses.push(address)
  }
  return addresses
}
