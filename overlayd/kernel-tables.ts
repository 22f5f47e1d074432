/**
 * The kernel's tables of one network on this host, kept as they are wanted: what is written is what differs from what was
 * written before, and from time to time all of it is compared with the kernel's own dumps.
 */

import type { IpAddress } from '../lib/address/address.ts'
import { applyRows, compareRows, type RowChanges, type Rows, readRows } from '../lib/overlay/forwarding-tables.ts'
import { type OverlayNamespace, withOverlay } from '../lib/overlay/namespace.ts'
import { deletePeers, setPeers } from '../lib/overlay/peers.ts'
import { floodPeers, setFloodPeers } from '../lib/overlay/vxlan.ts'
import type { Log } from './log.ts'

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
  /** Rows that were written, or read from the kernel. */
  readonly looked: number
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
      const before = compare ? undefined : known
      const links = { vxlanIndex: vxlan.index, bridgeIndex: bridge.index }
      this.#programmed = undefined
      if (before === undefined || !sameHosts(before.hosts, wanted.hosts)) this.#setHosts(overlay, wanted)
      const present = before?.rows ?? readRows(overlay.socket, links)
      const drift = known === undefined || before !== undefined ? 0 : this.#driftOf(compareRows(present, known.rows))
      const changes = compareRows(present, wanted.rows)
      const refused = applyRows(overlay.socket, links, changes)
      if (refused[0] === undefined) this.#programmed = { place, rows: wanted.rows, hosts: wanted.hosts }
      else
        this.#log.warn('the kernel refused rows', { network: this.#network, count: refused.length, error: refused[0] })
      const { written, removed } = changes
      const looked = written.length + removed.length + (before === undefined ? present.size : 0)
      return { written: written.length, removed: removed.length, looked, drift }
    })
  }

  /** What differs from the kernel's tables, as words; none when all is as it should be. */
  differences(wanted: WantedTables): string[] {
    return withOverlay(this.#network, overlay => {
      const [vxlan, bridge] = [overlay?.vxlan, overlay?.bridge]
      if (overlay === undefined || vxlan === undefined || bridge === undefined) return ['there is no tunnel']
      const links = { vxlanIndex: vxlan.index, bridgeIndex: bridge.index }
      const { written, removed } = compareRows(readRows(overlay.socket, links), wanted.rows)
      const flooded = floodPeers(overlay.socket, vxlan).length
      return [
        ...written.map(({ key, content }) => `missing or different: ${key} ${content}`),
        ...removed.map(({ key, content }) => `too much: ${key} ${content}`),
        ...(flooded === wanted.hosts.size
          ? []
          : [`${flooded} hosts get what is for everybody, not ${wanted.hosts.size}`]),
      ]
    })
  }

  /** Nothing is known any more of what is there. */
  forget(): void {
    this.#programmed = undefined
  }

  #setHosts(overlay: OverlayNamespace, { vni, port, hosts }: WantedTables): void {
    const peers = [...hosts.values()]
    // First, so that answers to what is sent are taken.
    setPeers({ network: this.#network, port, vni, peers })
    const { vxlan } = overlay
    if (vxlan !== undefined) setFloodPeers(overlay, vxlan, peers)
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

function sameHosts(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  if (a.size !== b.size) return false
  for (const key of a.keys()) if (!b.has(key)) return false
  return true
}
