/** A network that has a container on this host: who else is in it, and the kernel's tables that follow from that. */

import { formatAddress, type IpAddress, parseAddress } from '../lib/address/address.ts'
import { parseMac } from '../lib/address/mac.ts'
import type { KnownNetwork } from '../lib/overlay/agent-protocol.ts'
import { type KeyedRow, rowsOf } from '../lib/overlay/forwarding-tables.ts'
import { keys } from './etcd/keys.ts'
import type { Entry, Store, View } from './etcd/store.ts'
import { KernelTables, type Outcome, type WantedTables } from './kernel-tables.ts'
import type { Log } from './log.ts'
import type { OverlayMetrics } from './metrics.ts'
import type { EndpointRecord, MemberRecord, NetworkRecord } from './records.ts'

export interface JoinedNetworkOptions {
  readonly network: string
  readonly record: NetworkRecord
  readonly node: string
  readonly local: string
  readonly store: Store
  readonly log: Log
  readonly metrics: OverlayMetrics
}

/** What an endpoint's record means here; the entry is the key, so that a changed record is read anew. */
interface Meaning {
  readonly rows: readonly KeyedRow[]
  readonly host: IpAddress
}

export class JoinedNetwork {
  readonly record: NetworkRecord
  readonly members: View<MemberRecord>
  readonly endpoints: View<EndpointRecord>
  readonly #options: JoinedNetworkOptions
  readonly #tables: KernelTables
  readonly #meanings = new WeakMap<Entry<EndpointRecord>, Meaning | 'none'>()
  #scheduled = false
  #compare = true
  #closed = false
  #isReady = false

  constructor(options: JoinedNetworkOptions) {
    const { network, record, store, log } = options
    this.record = record
    this.#options = options
    this.#tables = new KernelTables(network, log)
    const changed = ({ resynced }: { resynced: boolean }) => this.#schedule(resynced)
    this.members = store.watch<MemberRecord>(keys.members(network), changed)
    this.endpoints = store.watch<EndpointRecord>(keys.endpoints(network), changed)
    void this.ready().then(() => this.#schedule(true))
  }

  /** Until both views have their snapshot: half of what is wanted would take the other half away from running traffic. */
  async ready(): Promise<void> {
    await Promise.all([this.members.ready, this.endpoints.ready])
    this.#isReady = true
  }

  close(): void {
    this.#closed = true
    this.members.close()
    this.endpoints.close()
    this.#options.metrics.forgetNetwork(this.#options.network)
  }

  /** Now, and not with the next batch of changes. @param compare with the kernel's own dumps */
  reconcile(compare: boolean): Outcome | undefined {
    if (this.#closed || !this.#isReady) return undefined
    const { network, metrics, log } = this.#options
    const end = metrics.reconcileSeconds.startTimer()
    const wanted = this.wanted()
    try {
      const outcome = this.#tables.reconcile(wanted, compare || this.#compare)
      this.#compare = false
      metrics.reconciled(network, wanted, this.endpoints.entries.size, outcome)
      return outcome
    } catch (error) {
      // The next periodic pass tries again, and asks the kernel what is there.
      this.#compare = true
      metrics.failures.inc({ what: 'reconcile' })
      log.error('tables could not be written', { network, error })
      return undefined
    } finally {
      end()
    }
  }

  /** What the kernel is to have, from what etcd has. */
  wanted(): WantedTables {
    const { vni, port } = this.record
    const rows = new Map<string, KeyedRow>()
    const revisions = new Map<string, number>()
    const hosts = new Map<string, IpAddress>()
    const { node, local } = this.#options
    for (const { key, value } of this.members.entries.values()) {
      const address = parseAddress(value.address)
      if (address !== undefined && value.address !== local && key !== keys.member(this.#options.network, node))
        hosts.set(formatAddress(address), address)
    }
    for (const entry of this.endpoints.entries.values()) {
      if (entry.value.node === node) continue
      const meaning = this.#meaningOf(entry)
      if (meaning === 'none') continue
      hosts.set(entry.value.host, meaning.host)
      for (const row of meaning.rows) {
        // Two endpoints with one hardware address: the later one has it.
        const before = revisions.get(row.key)
        if (before !== undefined && before > entry.revision) continue
        revisions.set(row.key, entry.revision)
        rows.set(row.key, row)
      }
    }
    return { vni, port, rows, hosts }
  }

  /** What differs between the kernel and what is wanted. */
  differences(): string[] {
    return this.#tables.differences(this.wanted())
  }

  /** For people to compare with what the kernel has. */
  describe(): KnownNetwork {
    const { network, node } = this.#options
    const { vni, port, mtu } = this.record
    const { hosts } = this.wanted()
    const nodes = new Map<string, string>()
    const endpoints = [...this.endpoints.entries.values()].sort((a, b) => a.revision - b.revision)
    for (const { value } of endpoints) nodes.set(value.host, value.node)
    for (const { key, value } of this.members.entries.values())
      nodes.set(value.address, key.slice(keys.members(network).length))
    return {
      network,
      vni,
      port,
      mtu,
      hosts: [...hosts.keys()].map(address => ({ address, node: nodes.get(address) })),
      endpoints: endpoints
        .filter(entry => entry.value.node !== node && this.#meaningOf(entry) !== 'none')
        .map(({ key, value: { mac, host } }) => ({ address: key.slice(key.lastIndexOf('/') + 1), mac, host })),
    }
  }

  #meaningOf(entry: Entry<EndpointRecord>): Meaning | 'none' {
    const known = this.#meanings.get(entry)
    if (known !== undefined) return known
    const address = parseAddress(entry.key.slice(entry.key.lastIndexOf('/') + 1))
    const [mac, host] = [parseMac(entry.value.mac), parseAddress(entry.value.host)]
    const meaning =
      address === undefined || mac === undefined || host === undefined || entry.value.host === this.#options.local
        ? 'none'
        : { host, rows: rowsOf({ mac, host, address }) }
    if (meaning === 'none') this.#options.log.warn('an endpoint in etcd is passed over', { ...entry })
    this.#meanings.set(entry, meaning)
    return meaning
  }

  /** One pass for all the changes that have come by then. */
  #schedule(compare: boolean): void {
    if (compare) this.#compare = true
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.reconcile(false)
    })
  }
}
