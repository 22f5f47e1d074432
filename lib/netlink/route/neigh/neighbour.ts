/** Neighbours: which hardware address an IP address has on a link. `ip neighbour` */

import { type Family, formatAddress, type IpAddress } from '../../../address/address.ts'
import type { MacAddress } from '../../../address/mac.ts'
import { Errno } from '../../../sys/errno.ts'
import { type Answer, NLM_F, type Request, request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { familyFromNumber, familyNumber, familyNumberOf } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { nameOf, numberOf } from '../value-codecs.ts'
import { NeighbourFlag, type NeighbourHeader, neighbourFormat, neighbourStates } from './message.ts'

export type NeighbourState = keyof typeof neighbourStates

export interface Neighbour {
  /** Of the link. */
  readonly index: number
  readonly family: Family
  readonly address: IpAddress
  /** Absent as long as nobody has answered, and for proxy entries. */
  readonly mac?: MacAddress
  readonly state: NeighbourState | number
  /** The host answers for the address in place of its owner. */
  readonly proxy: boolean
  readonly router: boolean
  /** Put there by a program that learns addresses in its own way. */
  readonly extLearned: boolean
  /** RTPROT_* of who made it. */
  readonly protocol?: number
}

export interface NewNeighbour {
  readonly index: number
  readonly address: IpAddress
  readonly mac?: MacAddress | undefined
  /** Default "permanent". */
  readonly state?: NeighbourState | undefined
  readonly proxy?: boolean | undefined
  readonly router?: boolean | undefined
  readonly extLearned?: boolean | undefined
  readonly protocol?: number | undefined
}

function messageFor(type: number, flags: number, verb: string, neighbour: NewNeighbour): Request {
  const bits =
    (neighbour.proxy ? NeighbourFlag.proxy : 0) |
    (neighbour.router ? NeighbourFlag.router : 0) |
    (neighbour.extLearned ? NeighbourFlag.extLearned : 0)
  return request(neighbourFormat, {
    type,
    flags,
    operation: `${verb} neighbour ${formatAddress(neighbour.address)} on link ${neighbour.index}`,
    header: {
      family: familyNumberOf(neighbour.address),
      index: neighbour.index,
      state: type === RouteMessage.newNeighbour ? numberOf(neighbourStates, neighbour.state ?? 'permanent') : 0,
      flags: bits,
    },
    attributes: { dst: neighbour.address, lladdr: neighbour.mac, protocol: neighbour.protocol },
  })
}

/** `ip neighbour add`. */
export function addNeighbourRequest(neighbour: NewNeighbour): Request {
  return messageFor(RouteMessage.newNeighbour, NLM_F.CREATE | NLM_F.EXCL, 'add', neighbour)
}

/** `ip neighbour replace`. */
export function replaceNeighbourRequest(neighbour: NewNeighbour): Request {
  return messageFor(RouteMessage.newNeighbour, NLM_F.CREATE | NLM_F.REPLACE, 'replace', neighbour)
}

/** `ip neighbour delete`; of a proxy entry when `proxy` is set. */
export function deleteNeighbourRequest(neighbour: Pick<NewNeighbour, 'index' | 'address' | 'proxy'>): Request {
  const { index, address, proxy } = neighbour
  return messageFor(RouteMessage.deleteNeighbour, 0, 'delete', { index, address, proxy })
}

/** @throws NetlinkError, EEXIST when there is one */
export function addNeighbour(socket: NetlinkSocket, neighbour: NewNeighbour): void {
  socket.execute(addNeighbourRequest(neighbour))
}

/** @throws NetlinkError */
export function replaceNeighbour(socket: NetlinkSocket, neighbour: NewNeighbour): void {
  socket.execute(replaceNeighbourRequest(neighbour))
}

/**
 * @param options.missing "ignore" to accept that there is none
 * @returns whether there was one
 * @throws NetlinkError
 */
export function deleteNeighbour(
  socket: NetlinkSocket,
  neighbour: Pick<NewNeighbour, 'index' | 'address' | 'proxy'>,
  options: { missing?: 'ignore' } = {},
): boolean {
  const [failure] = socket.tryAll([deleteNeighbourRequest(neighbour)])
  if (failure === undefined) return true
  // ENODEV: its link is gone, and the entry with it.
  if (options.missing === 'ignore' && (failure.errno === Errno.ENOENT || failure.errno === Errno.ENODEV)) return false
  throw failure
}

/** Which neighbours; all of them when empty, proxy entries apart. */
export interface NeighbourFilter {
  readonly index?: number | undefined
  readonly family?: Family | undefined
  /** Index of the bridge on whose ports they are. */
  readonly master?: number | undefined
  /** Proxy entries, and these alone. */
  readonly proxy?: boolean | undefined
}

/** @throws NetlinkError */
export function listNeighbours(socket: NetlinkSocket, filter: NeighbourFilter = {}): Neighbour[] {
  return mapNeighbours(socket, filter, neighbour => neighbour)
}

/**
 * What is made of each neighbour, which is not kept: for tables of many thousands.
 * @param convert gives undefined for what is to be left out
 * @throws NetlinkError
 */
export function mapNeighbours<T>(
  socket: NetlinkSocket,
  filter: NeighbourFilter,
  convert: (neighbour: Neighbour) => T | undefined,
): T[] {
  return socket.mapDump(
    neighbourFormat,
    request(neighbourFormat, {
      type: RouteMessage.getNeighbour,
      operation: 'list neighbours',
      header: { family: familyNumber(filter.family), flags: filter.proxy ? NeighbourFlag.proxy : 0 },
      attributes: { ifindex: filter.index, master: filter.master },
    }),
    answer => {
      const neighbour = decodeNeighbour(answer)
      if (neighbour === undefined) return undefined
      const { family, index } = neighbour
      return matches(filter.family, family) && matches(filter.index, index) ? convert(neighbour) : undefined
    },
  )
}

/** The kernel does not filter proxy entries by link, and without IPv6 it answers with everything it has. */
function matches<T>(wanted: T | undefined, actual: T): boolean {
  return wanted === undefined || wanted === actual
}

/** Undefined for what is not IP. */
function decodeNeighbour({
  header,
  attributes,
}: Answer<NeighbourHeader, (typeof neighbourFormat)['attributes']>): Neighbour | undefined {
  const family = familyFromNumber(header.family)
  if (family === undefined || attributes.dst === undefined) return undefined
  const flags = header.flags ?? 0
  return {
    index: header.index ?? 0,
    family,
    address: attributes.dst,
    state: nameOf(neighbourStates, header.state ?? 0),
    proxy: (flags & NeighbourFlag.proxy) !== 0,
    router: (flags & NeighbourFlag.router) !== 0,
    extLearned: (flags & NeighbourFlag.extLearned) !== 0,
    ...(attributes.lladdr === undefined ? {} : { mac: attributes.lladdr }),
    ...(attributes.protocol === undefined ? {} : { protocol: attributes.protocol }),
  }
}
