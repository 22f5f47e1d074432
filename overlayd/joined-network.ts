/** A network that has a container on this host: who else is in it, and the kernel's tables that follow from that. */

import { formatAddress, type IpAddress, parseAddress } from '../lib/address/address.ts'
import type { KnownNetwork } from '../lib/overlay/agent-protocol.ts'
import { keys } from './etcd/keys.ts'
import type { Store, View, ViewChange } from './etcd/store.ts'
import { KernelTables, type Outcome, type WantedTables } from './kernel-tables.ts'
import type { Log } from './log.ts'
import { collectGarbageOf } from './memory.ts'
import type { OverlayMetrics } from './metrics.ts'
import type { EndpointRecord, MemberRecord, NetworkRecord } from './records.ts'
import { readEndpoint, WantedRows } from './wanted-rows.ts'

export interface JoinedNetworkOptions {
  readonly network: string
  readonly record: NetworkRecord
  readonly node: string
  readonly local: string
  readonly store: Store
  readonly log: Log
  readonly metrics: OverlayMetrics
}

export class JoinedNetwork {
  readonly record: NetworkRecord
  readonly members: View<MemberRecord>
  readonly endpoints: View<EndpointRecord>
  readonly #options: JoinedNetworkOptions
  readonly #tables: KernelTables
  /** Of the endpoints on other hosts. */
  readonly #rows = new WantedRows()
  #scheduled = false
  #compare = true
  #closed = false
  #isReady = false

  constructor(options: JoinedNetworkOptions) {
    const { network, record, store, log } = options
    this.record = record
    this.#options = options
    this.#tables = new KernelTables(network, log)
    this.members = store.watch<MemberRecord>(keys.members(network), ({ resynced }) => this.#schedule(resynced))
    this.endpoints = store.watch<EndpointRecord>(keys.endpoints(network), change => {
      this.#take(change)
      this.#schedule(change.resynced)
    })
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
    // Once nobody refers to it any more.
    const { size } = this.#rows
    setImmediate(() => collectGarbageOf(size))
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
    const { network, node, local } = this.#options
    // The members, and those whose agents are away while their containers run.
    const hosts = new Map<string, IpAddress>()
    for (const { key, value } of this.members.entries.values())
      if (value.address !== local && key !== keys.member(network, node)) addHost(hosts, value.address)
    for (const host of this.#rows.hosts()) addHost(hosts, host)
    return { vni, port, rows: this.#rows, hosts }
  }

  #take({ changed, removed }: ViewChange<EndpointRecord>): void {
    const { node, local, log } = this.#options
    for (const { key } of removed) this.#rows.delete(key)
    for (const entry of changed) {
      const endpoint = readEndpoint(entry)
      const isElsewhere = entry.value.node !== node
      if (isElsewhere && endpoint !== undefined && endpoint.host !== local) this.#rows.put(entry.key, endpoint)
      else this.#rows.delete(entry.key)
      if (isElsewhere && endpoint?.host === local) log.warn("an endpoint's host is this one", { ...entry })
      if (isElsewhere && endpoint === undefined) log.warn('an endpoint in etcd makes no sense', { ...entry })
    }
  }

  /** What differs between the kernel and what is wanted. */
  differences(): string[] {
    return this.#tables.differences(this.wanted())
  }

  /** For people to compare with what the kernel has. */
  describe(): KnownNetwork {
    const { network } = this.#options
    const { vni, port, mtu } = this.record
    const { hosts } = this.wanted()
    const nodes = new Map<string, string>()
    const endpoints = [...this.#rows.endpoints()].sort((a, b) => a.revision - b.revision)
    for (const { host, node } of endpoints) nodes.set(host, node)
    for (const { key, value } of this.members.entries.values())
      nodes.set(value.address, key.slice(keys.members(network).length))
    return {
      network,
      vni,
      port,
      mtu,
      hosts: [...hosts.keys()].map(address => ({ address, node: nodes.get(address) })),
      endpoints: endpoints.map(({ address, mac, host }) => ({ address, mac, host })),
    }
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

function addHost(hosts: Map<string, IpAddress>, text: string): void {
  const address = parseAddress(text)
  if (address !== undefined) hosts.set(formatAddress(address), address)
}
