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

import { formatAddress, type IpAddress } from '../address/address.ts'
import { formatMac, type MacAddress } from '../address/mac.ts'
import type { NetlinkError } from '../netlink/error.ts'
import type { Request } from '../netlink/message.ts'
import {
  deleteForwardingEntryRequest,
  deleteNeighbourRequest,
  listForwardingEntries,
  listNeighbours,
  replaceForwardingEntryRequest,
  replaceNeighbourRequest,
} from '../netlink/route/neigh/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { Errno } from '../sys/errno.ts'

/** One row of one of the three tables. */
export type TableRow =
  | { readonly table: 'tunnel'; readonly mac: MacAddress; readonly host: IpAddress }
  | { readonly table: 'bridge'; readonly mac: MacAddress }
  | { readonly table: 'neighbour'; readonly address: IpAddress; readonly mac: MacAddress }

/** A row with what identifies it, and what else it says, as text. */
export interface KeyedRow {
  readonly key: string
  readonly content: string
  readonly row: TableRow
}

export type Rows = ReadonlyMap<string, KeyedRow>

/** The links whose tables they are. */
export interface TableLinks {
  readonly vxlanIndex: number
  readonly bridgeIndex: number
}

/** A container on another host. */
export interface RemoteEndpoint {
  readonly mac: MacAddress
  /** The other host's tunnel address. */
  readonly host: IpAddress
  readonly address: IpAddress
}

/** The rows that an endpoint's address needs. */
export function rowsOf({ mac, host, address }: RemoteEndpoint): KeyedRow[] {
  return [
    keyed({ table: 'tunnel', mac, host }),
    keyed({ table: 'bridge', mac }),
    keyed({ table: 'neighbour', address, mac }),
  ]
}

function keyed(row: TableRow): KeyedRow {
  if (row.table === 'tunnel') return { key: `tunnel ${formatMac(row.mac)}`, content: formatAddress(row.host), row }
  if (row.table === 'bridge') return { key: `bridge ${formatMac(row.mac)}`, content: '', row }
  return { key: `neighbour ${formatAddress(row.address)}`, content: formatMac(row.mac), row }
}

/** The rows that are there: written by us, or by whoever wrote into a namespace of ours. @throws NetlinkError */
export function readRows(socket: NetlinkSocket, { vxlanIndex, bridgeIndex }: TableLinks): Map<string, KeyedRow> {
  const rows = new Map<string, KeyedRow>()
  const add = (row: TableRow) => {
    const one = keyed(row)
    rows.set(one.key, one)
  }
  for (const entry of listForwardingEntries(socket, { index: vxlanIndex })) {
    const { mac, self, destination, extLearned, lifetime } = entry
    // Packets for everybody go by the entry of 00:00:00:00:00:00, see setFloodPeers.
    if (mac.every(byte => byte === 0)) continue
    if (self && destination !== undefined) {
      const one = keyed({ table: 'tunnel', mac, host: destination })
      // One that would age is not as wanted.
      rows.set(one.key, lifetime === 'permanent' ? one : { ...one, content: `${one.content} ${lifetime}` })
    }
    // The others are the device's own address, and none: the bridge does not learn here.
    else if (!self && extLearned) add({ table: 'bridge', mac })
  }
  for (const { address, mac, extLearned } of listNeighbours(socket, { index: bridgeIndex })) {
    if (extLearned && mac !== undefined) add({ table: 'neighbour', address, mac })
  }
  return rows
}

export interface RowChanges {
  readonly written: readonly KeyedRow[]
  readonly removed: readonly KeyedRow[]
}

/** What turns one set of rows into another. */
export function compareRows(present: Rows, wanted: Rows): RowChanges {
  const written: KeyedRow[] = []
  const removed: KeyedRow[] = []
  for (const [key, row] of wanted) {
    const there = present.get(key)
    if (there !== row && there?.content !== row.content) written.push(row)
  }
  for (const [key, row] of present) if (!wanted.has(key)) removed.push(row)
  return { written, removed }
}

/** Requests that exist at the same time: ten thousand endpoints are thirty thousand rows. */
const SLICE = 1_000

/** Makes the changes, in batches. @returns what the kernel refused; that a row is gone already is fine */
export function applyRows(socket: NetlinkSocket, links: TableLinks, { written, removed }: RowChanges): NetlinkError[] {
  const refused: NetlinkError[] = []
  for (let start = 0; start < removed.length; start += SLICE) {
    const outcomes = socket.tryAll(removed.slice(start, start + SLICE).map(({ row }) => removal(row, links)))
    for (const error of outcomes) if (error !== undefined && !gone.includes(error.errno)) refused.push(error)
  }
  for (let start = 0; start < written.length; start += SLICE) {
    const outcomes = socket.tryAll(written.slice(start, start + SLICE).map(({ row }) => replacement(row, links)))
    for (const error of outcomes) if (error !== undefined) refused.push(error)
  }
  return refused
}

const gone: readonly number[] = [Errno.ENOENT, Errno.ENODEV]

function replacement(row: TableRow, { vxlanIndex, bridgeIndex }: TableLinks): Request {
  if (row.table === 'neighbour')
    return replaceNeighbourRequest({ index: bridgeIndex, address: row.address, mac: row.mac, extLearned: true })
  const entry = { index: vxlanIndex, mac: row.mac }
  return row.table === 'tunnel'
    ? // As a user's: an entry that is learned externally does not take over all of one that a user has added.
      replaceForwardingEntryRequest({ ...entry, destination: row.host })
    : replaceForwardingEntryRequest({ ...entry, table: 'master', lifetime: 'dynamic', extLearned: true })
}

function removal(row: TableRow, { vxlanIndex, bridgeIndex }: TableLinks): Request {
  if (row.table === 'neighbour') return deleteNeighbourRequest({ index: bridgeIndex, address: row.address })
  const entry = { index: vxlanIndex, mac: row.mac }
  return row.table === 'tunnel'
    ? deleteForwardingEntryRequest(entry)
    : deleteForwardingEntryRequest({ ...entry, table: 'master', lifetime: 'dynamic' })
}
