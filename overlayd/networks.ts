/** The cluster's networks: their numbers, which are the same on all hosts, and which of them this host is in. */

import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import type { JoinRequest } from '../lib/overlay/agent-protocol.ts'
import { keys } from './etcd/keys.ts'
import type { Entry, Store } from './etcd/store.ts'
import { JoinedNetwork } from './joined-network.ts'
import { removeLeftFilter } from './kernel-tables.ts'
import { KeyedQueue } from './keyed-queue.ts'
import type { Log } from './log.ts'
import type { OverlayMetrics } from './metrics.ts'
import type { NetworkRecord } from './records.ts'

export interface NetworksOptions {
  readonly node: string
  readonly local: string
  readonly store: Store
  readonly log: Log
  readonly metrics: OverlayMetrics
  /** Whether a container of this host is in the network, or about to be. */
  readonly isUsed: (network: string) => boolean
}

/** Below are numbers that other tools like to choose by hand; Docker begins here too. */
const FIRST_VNI = 4096
const LAST_VNI = 2 ** 24 - 1
const DEFAULT_PORT = 4789
/** How often a choice is made anew because another host was faster. */
const ATTEMPTS = 20
/** Until a plugin that was removing the network has ended. */
const FILTER_DELAY_MS = 2_000

export class Networks {
  readonly #options: NetworksOptions
  readonly #joined = new Map<string, JoinedNetwork>()
  readonly #queue = new KeyedQueue()

  constructor(options: NetworksOptions) {
    this.#options = options
  }

  /** Networks that this host is in. */
  get joined(): ReadonlyMap<string, JoinedNetwork> {
    return this.#joined
  }

  /** The network's numbers, as it has them or gets them now; this host is a member of it afterwards. @throws CniError */
  async join(request: Pick<JoinRequest, 'network' | 'vni' | 'port' | 'mtu'>): Promise<JoinedNetwork> {
    const { network } = request
    return this.#queue.run(network, async () => {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const entry = await this.#findOrCreate(request)
        if (entry === undefined || !(await this.#becomeMember(network, entry))) continue
        const joined = this.#watch(network, entry.value)
        await joined.ready()
        return joined
      }
      throw new CniError(
        ErrorCode.tryAgainLater,
        `network "${network}" changes in etcd all the time`,
        'try again; many hosts join and leave it at once',
      )
    })
  }

  /** Gives up the network unless a container of this host uses it; with the last host's, its numbers are free again. */
  async leaveIfUnused(network: string): Promise<void> {
    await this.#queue.run(network, async () => {
      const { node, store, isUsed, metrics } = this.#options
      if (isUsed(network)) return
      this.#joined.get(network)?.close()
      this.#joined.delete(network)
      metrics.networks.set(this.#joined.size)
      setTimeout(() => this.#removeLeftFilter(network), FILTER_DELAY_MS)
      await store.transaction([], [{ delete: keys.member(network, node) }])
      const entry = await store.get<NetworkRecord>(keys.network(network))
      if (entry === undefined) return
      await store.transaction(
        [
          { key: entry.key, revision: entry.revision },
          { empty: keys.members(network) },
          { empty: keys.endpoints(network) },
        ],
        [{ delete: entry.key }, { delete: keys.vni(entry.value.vni) }],
      )
    })
  }

  close(): void {
    for (const joined of this.#joined.values()) joined.close()
  }

  #removeLeftFilter(network: string): void {
    if (this.#joined.has(network)) return
    try {
      removeLeftFilter(network)
    } catch (error) {
      this.#options.log.warn('peer filter not removed', { network, error })
    }
  }

  #watch(network: string, record: NetworkRecord): JoinedNetwork {
    const known = this.#joined.get(network)
    if (known !== undefined && sameNumbers(known.record, record)) return known
    known?.close()
    const { isUsed: _, ...options } = this.#options
    const joined = new JoinedNetwork({ ...options, network, record })
    this.#joined.set(network, joined)
    this.#options.metrics.networks.set(this.#joined.size)
    return joined
  }

  async #becomeMember(network: string, entry: Entry<NetworkRecord>): Promise<boolean> {
    const { node, local, store } = this.#options
    const key = keys.member(network, node)
    const joined = this.#joined.get(network)
    if (joined !== undefined && sameNumbers(joined.record, entry.value) && joined.members.entries.get(key)?.leased) {
      if (joined.members.entries.get(key)?.value.address === local) return true
    }
    const { succeeded } = await store.transaction(
      [{ key: entry.key, revision: entry.revision }],
      [{ put: key, value: { address: local }, leased: true }],
    )
    return succeeded
  }

  async #findOrCreate(request: Pick<JoinRequest, 'network' | 'vni' | 'port' | 'mtu'>) {
    const { store } = this.#options
    const key = keys.network(request.network)
    const found = await store.get<NetworkRecord>(key)
    if (found !== undefined) {
      refuseOther(request, found.value)
      return found
    }
    const vni = request.vni ?? (await this.#freeVni())
    const record: NetworkRecord = {
      vni,
      port: request.port ?? DEFAULT_PORT,
      mtu: request.mtu ?? 0,
      created: new Date().toISOString(),
    }
    const { succeeded } = await store.transaction(
      [
        { key, revision: 0 },
        { key: keys.vni(vni), revision: 0 },
      ],
      [
        { put: key, value: record },
        { put: keys.vni(vni), value: { network: request.network } },
      ],
    )
    if (!succeeded && request.vni !== undefined) await this.#refuseTaken(request.network, request.vni)
    return store.get<NetworkRecord>(key)
  }

  /** One more than the highest in use; when the highest of all is in use, the lowest that is free. */
  async #freeVni(): Promise<number> {
    const { entries } = await this.#options.store.list(keys.vnis, { keysOnly: true })
    const taken = new Set(entries.map(({ key }) => Number(key.slice(keys.vnis.length))))
    const highest = [...taken].reduce((a, b) => Math.max(a, b), FIRST_VNI - 1)
    if (highest < LAST_VNI) return highest + 1
    for (let vni = FIRST_VNI; vni <= LAST_VNI; vni++) if (!taken.has(vni)) return vni
    throw new CniError(ErrorCode.conflict, 'all VNIs are taken', 'remove networks that are not used')
  }

  async #refuseTaken(network: string, vni: number): Promise<void> {
    const taken = await this.#options.store.get<{ network: string }>(keys.vni(vni))
    if (taken === undefined || taken.value.network === network) return
    throw new CniError(
      ErrorCode.conflict,
      `VNI ${vni} is the one of network "${taken.value.network}" in this cluster`,
      'choose another "vni", or leave it out to have one allocated',
    )
  }
}

function sameNumbers(a: NetworkRecord, b: NetworkRecord): boolean {
  return a.vni === b.vni && a.port === b.port && a.mtu === b.mtu
}

/** Two hosts with different configurations of one network would not hear one another. */
function refuseOther(request: Pick<JoinRequest, 'network' | 'vni' | 'port' | 'mtu'>, record: NetworkRecord): void {
  for (const name of ['vni', 'port', 'mtu'] as const) {
    const wanted = request[name]
    if (wanted === undefined || wanted === record[name] || (name === 'mtu' && wanted === 0)) continue
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `network "${request.network}" has "${name}" ${record[name]} in this cluster, not ${wanted}`,
      `use the same on all hosts, or leave "${name}" out; it can be changed when no host is in the network any more`,
    )
  }
}
