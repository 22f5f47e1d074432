/**
 * The kernel's tables of one network on this host, kept as they are wanted: what is written is what differs from what was
 * written before, and from time to time all of it is compared with the kernel's own dumps.
 */

import { formatAddress, type IpAddress } from '../lib/address/address.ts'
import type { Link } from '../lib/netlink/route/link/index.ts'
import {
  applyRows,
  compareRows,
  type PresentTables,
  type RowChanges,
  type Rows,
  readTables,
} from '../lib/overlay/forwarding-tables.ts'
import { type OverlayNamespace, withOverlay } from '../lib/overlay/namespace.ts'
import { deletePeers, setPeers } from '../lib/overlay/peers.ts'
import { setFloodPeers } from '../lib/overlay/vxlan.ts'
import type { Log } from './log.ts'
import { collectGarbage } from './memory.ts'

/** What a network is to have on this host. */
export interface WantedTables {
  readonly vni: number
  readonly port: number
  readonly rows: Rows
  /** Tunnel addresses of the other hosts. */
  readonly hosts: ReadonlyMap<string, IpAddress>
}

export interface Outcome {
  readonly written: number
  readonly removed: number
  /** Rows that somebody else has changed since they were written. */
  readonly drift: number
}

/** What was written last, and into which links: others of the same name know nothing of it. */
interface Programmed {
  readonly place: string
  readonly rows: Rows
  readonly hosts: ReadonlyMap<string, IpAddress>
}

/** Rows that the log names. */
const SHOWN = 5

/** Rows that leave so much garbage behind that it is worth collecting. */
const MANY_ROWS = 3_000

function tidy(rows: number): void {
  if (rows > MANY_ROWS) collectGarbage()
}

export class KernelTables {
  readonly #network: string
  readonly #log: Log
  #programmed: Programmed | undefined

  constructor(network: string, log: Log) {
    this.#network = network
    this.#log = log
  }

  /**
   * Writes what is missing and removes what is not wanted. Undefined when the network has no tunnel on this host: it will
   * be filled when the first container has come.
   * @param compare asks the kernel what is there, and does not trust what was written before
   */
  reconcile(wanted: WantedTables, compare: boolean): Outcome | undefined {
    return withOverlay(this.#network, overlay => {
      const [vxlan, bridge] = [overlay?.vxlan, overlay?.bridge]
      if (overlay === undefined || vxlan === undefined || bridge === undefined) {
        this.#programmed = undefined
        return undefined
      }
      const place = `${overlay.namespace.identity} ${vxlan.index} ${bridge.index}`
      const known = this.#programmed?.place === place ? this.#programmed : undefined
      const links = { vxlanIndex: vxlan.index, bridgeIndex: bridge.index }
      const looks = compare || known === undefined
      const present = looks ? readTables(overlay.socket, links, wanted.rows) : asPresent(known)
      this.#programmed = undefined
      if (looks || !sameHosts(known.hosts, wanted.hosts)) this.#setHosts(overlay, vxlan, wanted, present.flooded)
      const drift = looks && known !== undefined ? this.#driftOf(compareRows(present.rows, known.rows)) : 0
      const { written, removed } = compareRows(present.rows, wanted.rows)
      const refused = applyRows(overlay.socket, links, { written, removed })
      if (refused[0] === undefined) this.#programmed = { place, rows: wanted.rows, hosts: wanted.hosts }
      else
        this.#log.warn('the kernel refused rows', { network: this.#network, count: refused.length, error: refused[0] })
      tidy(written.length + removed.length + (looks ? present.rows.size : 0))
      return { written: written.length, removed: removed.length, drift }
    })
  }

  /** What differs from the kernel's tables, as words; none when all is as it should be. */
  differences(wanted: WantedTables): string[] {
    return withOverlay(this.#network, overlay => {
      const [vxlan, bridge] = [overlay?.vxlan, overlay?.bridge]
      if (overlay === undefined || vxlan === undefined || bridge === undefined) return ['there is no tunnel']
      const links = { vxlanIndex: vxlan.index, bridgeIndex: bridge.index }
      const { rows, flooded } = readTables(overlay.socket, links, wanted.rows)
      const { written, removed } = compareRows(rows, wanted.rows)
      tidy(rows.size)
      const isFlooded = new Set(flooded.map(formatAddress))
      return [
        ...written.map(({ key, content }) => `missing or different: ${key} ${content}`),
        ...removed.map(({ key, content }) => `too much: ${key} ${content}`),
        ...[...wanted.hosts.keys()].filter(host => !isFlooded.has(host)).map(host => `not flooded: ${host}`),
        ...[...isFlooded].filter(host => !wanted.hosts.has(host)).map(host => `flooded too: ${host}`),
      ]
    })
  }

  #setHosts(
    overlay: OverlayNamespace,
    vxlan: Link,
    { vni, port, hosts }: WantedTables,
    flooded: readonly IpAddress[],
  ): void {
    const peers = [...hosts.values()]
    // First, so that answers to what is sent are taken.
    setPeers({ network: this.#network, port, vni, peers })
    setFloodPeers(overlay, vxlan, peers, flooded)
  }

  /** How many rows are not as they were written, which is told: somebody else is at work here. */
  #driftOf({ written, removed }: RowChanges): number {
    const count = written.length + removed.length
    if (count === 0) return 0
    const some = [...written, ...removed].slice(0, SHOWN).map(({ key, content }) => `${key} ${content}`)
    this.#log.warn('tables were changed by somebody else', { network: this.#network, count, some })
    return count
  }
}

/** The filter of a network that has gone from this host, should it have been written at the last moment. */
export function removeLeftFilter(network: string): void {
  withOverlay(network, overlay => {
    if (overlay === undefined) deletePeers(network).close()
  })
}

function asPresent({ rows, hosts }: Programmed): PresentTables {
  return { rows, flooded: [...hosts.values()] }
}

function sameHosts(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  if (a.size !== b.size) return false
  for (const key of a.keys()) if (!b.has(key)) return false
  return true
}
