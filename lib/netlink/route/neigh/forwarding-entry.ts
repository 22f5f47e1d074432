/** Forwarding entries: where a bridge or a VXLAN device sends frames for a hardware address. `bridge fdb` */

import { formatAddress, type IpAddress } from '../../../address/address.ts'
import { formatMac, type MacAddress } from '../../../address/mac.ts'
import { Errno } from '../../../sys/errno.ts'
import { type Answer, NLM_F, type Request, request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { AddressFamily } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { present } from '../present.ts'
import { NeighbourFlag, type NeighbourHeader, neighbourFormat, neighbourStates } from './message.ts'

/**
 * How long an entry stays. `permanent`: until it is deleted (on a bridge: frames for it are the host's own);
 * `static`: until it is deleted; `dynamic`: until it ages.
 */
const lifetimes = {
  permanent: neighbourStates.noarp | neighbourStates.permanent,
  static: neighbourStates.noarp | neighbourStates.reachable,
  dynamic: neighbourStates.reachable,
} as const

export interface NewForwardingEntry {
  /** Of the VXLAN device or the bridge port. */
  readonly index: number
  /** 00:00:00:00:00:00 in a VXLAN stands for every address without an entry of its own. */
  readonly mac: MacAddress
  /** Whose table: that of the device itself (VXLAN; default), or that of the bridge it is a port of. */
  readonly table?: 'self' | 'master' | undefined
  /** Default "permanent". */
  readonly lifetime?: keyof typeof lifetimes | undefined
  /** VXLAN: the host to send to. */
  readonly destination?: IpAddress | undefined
  /** VXLAN: another network identifier or UDP port than the device's. */
  readonly vni?: number | undefined
  readonly port?: number | undefined
  /** VXLAN: index of the link to send through. */
  readonly outgoingIndex?: number | undefined
  /** VXLAN devices of many networks: the network that the entry is of. */
  readonly sourceVni?: number | undefined
  /** Bridge: 1 to 4094. */
  readonly vlan?: number | undefined
  readonly sticky?: boolean | undefined
  readonly extLearned?: boolean | undefined
}

export interface ForwardingEntry {
  readonly index: number
  readonly mac: MacAddress
  readonly self: boolean
  /** Index of the bridge whose table it is in. */
  readonly master?: number
  readonly lifetime: keyof typeof lifetimes
  /** Bits of NUD_*, linux/neighbour.h. */
  readonly state: number
  readonly destination?: IpAddress
  readonly vni?: number
  readonly sourceVni?: number
  readonly port?: number
  readonly outgoingIndex?: number
  readonly vlan?: number
  readonly sticky: boolean
  readonly extLearned: boolean
}

function messageFor(type: number, flags: number, verb: string, entry: NewForwardingEntry): Request {
  const bits =
    (entry.table === 'master' ? NeighbourFlag.master : NeighbourFlag.self) |
    (entry.sticky ? NeighbourFlag.sticky : 0) |
    (entry.extLearned ? NeighbourFlag.extLearned : 0)
  const to = entry.destination === undefined ? '' : ` to ${formatAddress(entry.destination)}`
  return request(neighbourFormat, {
    type,
    flags,
    operation: `${verb} forwarding entry ${formatMac(entry.mac)}${to} of link ${entry.index}`,
    header: {
      family: AddressFamily.bridge,
      index: entry.index,
      state: lifetimes[entry.lifetime ?? 'permanent'],
      flags: bits,
    },
    attributes: {
      lladdr: entry.mac,
      dst: entry.destination,
      vlan: entry.vlan,
      port: entry.port,
      vni: entry.vni,
      ifindex: entry.outgoingIndex,
      srcVni: entry.sourceVni,
    },
  })
}

/** `bridge fdb add`. */
export function addForwardingEntryRequest(entry: NewForwardingEntry): Request {
  return messageFor(RouteMessage.newNeighbour, NLM_F.CREATE | NLM_F.EXCL, 'add', entry)
}

/** `bridge fdb replace`. */
export function replaceForwardingEntryRequest(entry: NewForwardingEntry): Request {
  return messageFor(RouteMessage.newNeighbour, NLM_F.CREATE | NLM_F.REPLACE, 'replace', entry)
}

/** `bridge fdb append`: VXLAN: one more host for the same hardware address. */
export function appendForwardingEntryRequest(entry: NewForwardingEntry): Request {
  return messageFor(RouteMessage.newNeighbour, NLM_F.CREATE | NLM_F.APPEND, 'append', entry)
}

/** `bridge fdb delete`; with a destination, that host alone. */
export function deleteForwardingEntryRequest(entry: NewForwardingEntry): Request {
  return messageFor(RouteMessage.deleteNeighbour, 0, 'delete', entry)
}

/** @throws NetlinkError, EEXIST when there is one */
export function addForwardingEntry(socket: NetlinkSocket, entry: NewForwardingEntry): void {
  socket.execute(addForwardingEntryRequest(entry))
}

/** @throws NetlinkError */
export function replaceForwardingEntry(socket: NetlinkSocket, entry: NewForwardingEntry): void {
  socket.execute(replaceForwardingEntryRequest(entry))
}

/** @throws NetlinkError */
export function appendForwardingEntry(socket: NetlinkSocket, entry: NewForwardingEntry): void {
  socket.execute(appendForwardingEntryRequest(entry))
}

/**
 * @param options.missing "ignore" to accept that there is none
 * @returns whether there was one
 * @throws NetlinkError
 */
export function deleteForwardingEntry(
  socket: NetlinkSocket,
  entry: NewForwardingEntry,
  options: { missing?: 'ignore' } = {},
): boolean {
  const [failure] = socket.tryAll([deleteForwardingEntryRequest(entry)])
  if (failure === undefined) return true
  // ENODEV: its link is gone, and the entry with it.
  if (options.missing === 'ignore' && (failure.errno === Errno.ENOENT || failure.errno === Errno.ENODEV)) return false
  throw failure
}

/** Which entries; all of them when empty. */
export interface ForwardingEntryFilter {
  /** Of the VXLAN device or the bridge port. */
  readonly index?: number | undefined
  /** Index of the bridge. */
  readonly master?: number | undefined
}

/** @throws NetlinkError, ENODEV when the filter's link does not exist */
export function listForwardingEntries(socket: NetlinkSocket, filter: ForwardingEntryFilter = {}): ForwardingEntry[] {
  return mapForwardingEntries(socket, filter, entry => entry)
}

/**
 * What is made of each entry, which is not kept: for tables of many thousands.
 * @param convert gives undefined for what is to be left out
 * @throws NetlinkError, ENODEV when the filter's link does not exist
 */
export function mapForwardingEntries<T>(
  socket: NetlinkSocket,
  filter: ForwardingEntryFilter,
  convert: (entry: ForwardingEntry) => T | undefined,
): T[] {
  return socket.mapDump(
    neighbourFormat,
    request(neighbourFormat, {
      type: RouteMessage.getNeighbour,
      operation: 'list forwarding entries',
      header: { family: AddressFamily.bridge, index: filter.index ?? 0 },
      attributes: { master: filter.master },
    }),
    answer => {
      const entry = decodeForwardingEntry(answer)
      return entry && convert(entry)
    },
  )
}

/** Undefined for what is no forwarding entry. */
function decodeForwardingEntry({
  header,
  attributes,
}: Answer<NeighbourHeader, (typeof neighbourFormat)['attributes']>): ForwardingEntry | undefined {
  if (attributes.lladdr === undefined) return undefined
  const { state = 0, flags = 0, index = 0 } = header
  return {
    index,
    mac: attributes.lladdr,
    self: (flags & NeighbourFlag.self) !== 0,
    state,
    lifetime: lifetimeOf(state),
    sticky: (flags & NeighbourFlag.sticky) !== 0,
    extLearned: (flags & NeighbourFlag.extLearned) !== 0,
    ...present({
      master: attributes.master,
      destination: attributes.dst,
      vni: attributes.vni,
      sourceVni: attributes.srcVni,
      port: attributes.port,
      outgoingIndex: attributes.ifindex,
      vlan: attributes.vlan,
    }),
  }
}

function lifetimeOf(state: number): keyof typeof lifetimes {
  if (state & neighbourStates.permanent) return 'permanent'
  return state & neighbourStates.noarp ? 'static' : 'dynamic'
}
