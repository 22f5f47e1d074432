/**
 * The kernel's tables of one network on this host, kept as they are wanted: what is written is what differs from what was
 * written before, and from time to time all of it is compared with the kernel's own dumps.
 */

import { formatAddress, type IpAddress } from '../lib/address/address.ts'
import type { Link } from '../lib/netlink/route/link/index.ts'
import { applyRows, compareWithKernel, type RowChanges } from '../lib/overlay/forwarding-tables.ts'
import { type OverlayNamespace, withOverlay } from '../lib/overlay/namespace.ts'
import { deletePeers, setPeers } from '../lib/overlay/peers.ts'
import { setFloodPeers } from '../lib/overlay/vxlan.ts'
import type { Log } from './log.ts'
import { collectGarbageOf } from './memory.ts'
import type { WantedRows } from './wanted-rows.ts'

/** What a network is to have on this host. */
export interface WantedTables {
  readonly vni: number
  readonly port: number
  readonly rows: WantedRows
  /** Tunnel addresses of the other hosts. */
  readonly hosts: ReadonlyMap<string, IpAddress>
}

export interface Outcome {
  readonly written: number
  readonly removed: number
  /** Rows that somebody else has changed since they were written. */
  readonly drift: number
}

/** Where rows were written last, and for which hosts: other links of the same name know nothing of it. */
interface Programmed {
  readonly place: string
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
      const before = this.#programmed
      const pending = wanted.rows.takeChanges()
      // Until all of it is written again, whatever happens in between.
      this.#programmed = undefined
      if (overlay === undefined || vxlan === undefined || bridge === undefined) return undefined
      const place = `${overlay.namespace.identity} ${vxlan.index} ${bridge.index}`
      const known = before?.place === place ? before : undefined
      const links = { vxlanIndex: vxlan.index, bridgeIndex: bridge.index }
      const looks = compare || known === undefined
      const { changes, flooded, present } = looks
        ? compareWithKernel(overlay.socket, links, wanted.rows)
        : { changes: pending, flooded: [...known.hosts.values()], present: 0 }
      if (looks || !sameHosts(known.hosts, wanted.hosts)) this.#setHosts(overlay, vxlan, wanted, flooded)
      const drift = looks && known !== undefined ? this.#tellDrift(changes, pending) : 0
      // What reading them has left, in etcd's answers or the kernel's.
      collectGarbageOf(changes.written.length)
      const refused = applyRows(overlay.socket, links, changes)
      if (refused[0] === undefined) this.#programmed = { place, hosts: wanted.hosts }
      else
        this.#log.warn('the kernel refused rows', { network: this.#network, count: refused.length, error: refused[0] })
      const [written, removed] = [changes.written.length, changes.removed.length]
      collectGarbageOf(written + removed + present)
      return { written, removed, drift }
    })
  }

  /** What differs from the kernel's tables, as words; none when all is as it should be. */
  differences(wanted: WantedTables): string[] {
    return withOverlay(this.#network, overlay => {
      const [vxlan, bridge] = [overlay?.vxlan, overlay?.bridge]
      if (overlay === undefined || vxlan === undefined || bridge === undefined) return ['there is no tunnel']
      const links = { vxlanIndex: vxlan.index, bridgeIndex: bridge.index }
      const { changes, flooded, present } = compareWithKernel(overlay.socket, links, wanted.rows)
      const { written, removed } = changes
      collectGarbageOf(present)
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

  /**
   * How many rows are not as they were written, which is told: somebody else is at work here.
   * @param pending what was not written yet
   */
  #tellDrift(changes: RowChanges, pending: RowChanges): number {
    const isPending = new Set([...pending.written, ...pending.removed].map(({ key }) => key))
    const changed = [...changes.written, ...changes.removed].filter(({ key }) => !isPending.has(key))
    if (changed.length === 0) return 0
    const some = changed.slice(0, SHOWN).map(({ key, content }) => `${key} ${content}`)
    this.#log.warn('tables were changed by somebody else', { network: this.#network, count: changed.length, some })
    return changed.length
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
