/**
 * What a host's kernel has to know of the containers on other hosts, in the overlay namespace of a network without
 * learning. For each of them:
 *
 *     bridge fdb replace <mac> dev vxlan0 dst <host> self permanent        to which host a frame goes
 *     bridge fdb replace <mac> dev vxlan0 master extern_learn              that it goes through the tunnel at all
 *     ip neighbour replace <address> lladdr <mac> dev br0 extern_learn     so that nobody has to ask all hosts for it
 *
 * All of them are replaced, never added: what stood there before, learned or left behind, gives way. The bridge's entry
 * cannot be overtaken by one that it learned before the container moved.
 */

import { formatAddress, type IpAddress, parseAddress } from '../address/address.ts'
import { formatMac, type MacAddress, parseMac } from '../address/mac.ts'
import type { NetlinkError } from '../netlink/error.ts'
import type { Request } from '../netlink/message.ts'
import {
  deleteForwardingEntryRequest,
  deleteNeighbourRequest,
  type ForwardingEntry,
  mapForwardingEntries,
  mapNeighbours,
  replaceForwardingEntryRequest,
  replaceNeighbourRequest,
} from '../netlink/route/neigh/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { Errno } from '../sys/errno.ts'

/** A row as text: which of the three tables and what identifies it there, and what else it says. */
export interface Row {
  /** "tunnel <mac>", "bridge <mac>" or "neighbour <address>" */
  readonly key: string
  /** Of a tunnel's entry the host, and its lifetime unless it is permanent; of a neighbour the hardware address. */
  readonly content: string
}

/** Contents by key: a Map, or what knows them without keeping each of them. */
export interface Rows {
  readonly size: number
  get(key: string): string | undefined
  keys(): Iterable<string>
}

/** The links whose tables they are. */
export interface TableLinks {
  readonly vxlanIndex: number
  readonly bridgeIndex: number
}

/** A container on another host: its addresses as `formatMac` and `formatAddress` write them. */
export interface RemoteEndpoint {
  readonly mac: string
  /** The other host's tunnel address. */
  readonly host: string
  readonly address: string
}

/** The keys of the rows that a hardware address needs, and an address. */
export const tunnelKey = (mac: string): string => `tunnel ${mac}`
export const bridgeKey = (mac: string): string => `bridge ${mac}`
export const neighbourKey = (address: string): string => `neighbour ${address}`

/** The rows that an endpoint's address needs. */
export function rowsOf({ mac, host, address }: RemoteEndpoint): Row[] {
  return [
    { key: tunnelKey(mac), content: host },
    { key: bridgeKey(mac), content: '' },
    { key: neighbourKey(address), content: mac },
  ]
}

/** What a key says: which table, and the address in it. */
export function splitKey(key: string): { table: string; address: string } {
  const space = key.indexOf(' ')
  return { table: key.slice(0, space), address: key.slice(space + 1) }
}

/** The hardware address that a row is about. */
export function macOfRow({ key, content }: Row): string {
  const { table, address } = splitKey(key)
  return table === 'neighbour' ? content : address
}

/** The host that a tunnel's row leads to: behind it may stand how long an entry lives that was not written by us. */
export function hostOfRow({ content }: Row): string {
  const space = content.indexOf(' ')
  return space < 0 ? content : content.slice(0, space)
}

/** What is there. */
export interface PresentTables {
  readonly rows: ReadonlyMap<string, string>
  /** Hosts that get what is for everybody, see `setFloodPeers`. */
  readonly flooded: readonly IpAddress[]
}

/** What is there: written by us, or by whoever wrote into a namespace of ours. @throws NetlinkError */
export function readTables(socket: NetlinkSocket, links: TableLinks): PresentTables {
  const rows = new Map<string, string>()
  const flooded = walkTables(socket, links, ({ key, content }) => rows.set(key, content))
  return { rows, flooded }
}

/** Hands over row by row. @returns the hosts that get what is for everybody */
function walkTables(
  socket: NetlinkSocket,
  { vxlanIndex, bridgeIndex }: TableLinks,
  take: (row: Row) => void,
): IpAddress[] {
  const flooded = mapForwardingEntries(socket, { index: vxlanIndex }, entry => {
    const meaning = meaningOf(entry)
    if (meaning === undefined || meaning instanceof Uint8Array) return meaning
    take(meaning)
    return undefined
  })
  mapNeighbours(socket, { index: bridgeIndex }, ({ address, mac, extLearned }) => {
    if (extLearned && mac !== undefined) take({ key: neighbourKey(formatAddress(address)), content: formatMac(mac) })
    return undefined
  })
  return flooded
}

/** The row that an entry is, or the host that it floods to; undefined for the device's own address. */
function meaningOf({ mac, self, destination, extLearned, lifetime }: ForwardingEntry): Row | IpAddress | undefined {
  if (!self) return extLearned ? { key: bridgeKey(formatMac(mac)), content: '' } : undefined
  if (destination === undefined) return undefined
  if (mac.every(byte => byte === 0)) return destination
  const host = formatAddress(destination)
  // One that would age is not as wanted.
  return { key: tunnelKey(formatMac(mac)), content: lifetime === 'permanent' ? host : `${host} ${lifetime}` }
}

export interface RowChanges {
  readonly written: readonly Row[]
  readonly removed: readonly Row[]
}

/** What turns the rows that are there into those that are wanted. */
export function compareRows(present: Rows, wanted: Rows): RowChanges {
  return compare(take => {
    for (const key of present.keys()) take({ key, content: present.get(key) ?? '' })
  }, wanted)
}

export interface KernelComparison {
  readonly changes: RowChanges
  readonly flooded: readonly IpAddress[]
  /** Rows that are there. */
  readonly present: number
}

/** Compares with the kernel's own dumps, without keeping what they say. @throws NetlinkError */
export function compareWithKernel(socket: NetlinkSocket, links: TableLinks, wanted: Rows): KernelComparison {
  let flooded: readonly IpAddress[] = []
  let present = 0
  const changes = compare(take => {
    flooded = walkTables(socket, links, row => {
      present++
      take(row)
    })
  }, wanted)
  return { changes, flooded, present }
}

function compare(walk: (take: (row: Row) => void) => void, wanted: Rows): RowChanges {
  const right = new Set<string>()
  const wrong = new Set<string>()
  const removed: Row[] = []
  walk(row => {
    const content = wanted.get(row.key)
    if (content === undefined) removed.push(row)
    // An entry with two destinations comes twice: one that is right does not make up for the other.
    else (content === row.content ? right : wrong).add(row.key)
  })
  const written: Row[] = []
  for (const key of wanted.keys())
    if (!right.has(key) || wrong.has(key)) written.push({ key, content: wanted.get(key) ?? '' })
  return { written, removed }
}

/** Requests that exist at the same time: ten thousand endpoints are thirty thousand rows. */
const SLICE = 1_000

/** Makes the changes, in batches. @returns what the kernel refused; that a row is gone already is fine */
export function applyRows(socket: NetlinkSocket, links: TableLinks, { written, removed }: RowChanges): NetlinkError[] {
  const refused: NetlinkError[] = []
  for (let start = 0; start < removed.length; start += SLICE) {
    const outcomes = socket.tryAll(removed.slice(start, start + SLICE).map(row => removal(row, links)))
    for (const error of outcomes) if (error !== undefined && !gone.includes(error.errno)) refused.push(error)
  }
  for (let start = 0; start < written.length; start += SLICE) {
    const outcomes = socket.tryAll(written.slice(start, start + SLICE).map(row => replacement(row, links)))
    for (const error of outcomes) if (error !== undefined) refused.push(error)
  }
  return refused
}

const gone: readonly number[] = [Errno.ENOENT, Errno.ENODEV]

function replacement({ key, content }: Row, { vxlanIndex, bridgeIndex }: TableLinks): Request {
  const { table, address } = splitKey(key)
  if (table === 'neighbour')
    return replaceNeighbourRequest({ index: bridgeIndex, address: ip(address), mac: mac(content), extLearned: true })
  const entry = { index: vxlanIndex, mac: mac(address) }
  return table === 'tunnel'
    ? // As a user's: an entry that is learned externally does not take over all of one that a user has added.
      replaceForwardingEntryRequest({ ...entry, destination: ip(content) })
    : replaceForwardingEntryRequest({ ...entry, table: 'master', lifetime: 'dynamic', extLearned: true })
}

function removal({ key }: Row, { vxlanIndex, bridgeIndex }: TableLinks): Request {
  const { table, address } = splitKey(key)
  if (table === 'neighbour') return deleteNeighbourRequest({ index: bridgeIndex, address: ip(address) })
  const entry = { index: vxlanIndex, mac: mac(address) }
  return table === 'tunnel'
    ? deleteForwardingEntryRequest(entry)
    : deleteForwardingEntryRequest({ ...entry, table: 'master', lifetime: 'dynamic' })
}

function ip(text: string): IpAddress {
  const address = parseAddress(text)
  if (address === undefined) throw new RangeError(`a row with "${text}" where an address belongs`)
  return address
}

function mac(text: string): MacAddress {
  const address = parseMac(text)
  if (address === undefined) throw new RangeError(`a row with "${text}" where a hardware address belongs`)
  return address
}
