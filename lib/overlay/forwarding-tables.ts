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
  type ForwardingEntry,
  mapForwardingEntries,
  mapNeighbours,
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

/** What is there. */
export interface PresentTables {
  readonly rows: ReadonlyMap<string, KeyedRow>
  /** Hosts that get what is for everybody, see `setFloodPeers`. */
  readonly flooded: readonly IpAddress[]
}

/**
 * What is there: written by us, or by whoever wrote into a namespace of ours.
 * @param known rows that are probably there: what is as they are is not made anew
 * @throws NetlinkError
 */
export function readTables(
  socket: NetlinkSocket,
  { vxlanIndex, bridgeIndex }: TableLinks,
  known: Rows = new Map(),
): PresentTables {
  const knownOr = (row: KeyedRow): KeyedRow => {
    const same = known.get(row.key)
    return same?.content === row.content ? same : row
  }
  const flooded: IpAddress[] = []
  const rows = new Map<string, KeyedRow>()
  for (const entry of mapForwardingEntries(socket, { index: vxlanIndex }, meaningOf)) {
    if (entry instanceof Uint8Array) flooded.push(entry)
    else rows.set(entry.key, knownOr(entry))
  }
  const neighbours = mapNeighbours(socket, { index: bridgeIndex }, ({ address, mac, extLearned }) =>
    extLearned && mac !== undefined ? knownOr(keyed({ table: 'neighbour', address, mac })) : undefined,
  )
  for (const row of neighbours) rows.set(row.key, row)
  return { rows, flooded }
}

/** The row that an entry is, or the host that it floods to; undefined for the device's own address. */
function meaningOf({
  mac,
  self,
  destination,
  extLearned,
  lifetime,
}: ForwardingEntry): KeyedRow | IpAddress | undefined {
  if (!self) return extLearned ? keyed({ table: 'bridge', mac }) : undefined
  if (destination === undefined) return undefined
  if (mac.every(byte => byte === 0)) return destination
  const row = keyed({ table: 'tunnel', mac, host: destination })
  // One that would age is not as wanted.
  return lifetime === 'permanent' ? row : { ...row, content: `${row.content} ${lifetime}` }
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
