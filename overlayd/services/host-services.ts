/** This host's part of the cluster's services: computed anew after every change, and made so in the kernel. */

import { formatAddress, type IpAddress } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import { formatPrefix, type Prefix } from '../../lib/address/prefix.ts'
import { listNamespaces } from '../../lib/netns/index.ts'
import type { PublishedPort } from '../../lib/overlay/mesh/published-port.ts'
import { LOAD_BALANCER, OVERLAY_BRIDGE, overlayNamespaceName } from '../../lib/overlay/names.ts'
import type { AgentContext } from '../context.ts'
import { keys } from '../etcd/keys.ts'
import type { View } from '../etcd/store.ts'
import type { NodeRecord } from '../records.ts'
import { MeshKernel } from './kernel.ts'
import {
  createLoadBalancer,
  findLoadBalancer,
  INNER,
  type LoadBalancer,
  type LoadBalancerOptions,
  removeLoadBalancer,
} from './load-balancer.ts'
import { type LoadBalancerRecord, type ReplicaRecord, serviceKeys } from './records.ts'
import type { MeshSettings } from './settings.ts'
import {
  bridgeMac,
  clearVirtualNetwork,
  keepVirtualNetwork,
  ownAddresses,
  returnAddresses,
  sameAddresses,
  takeAddresses,
} from './virtual-network.ts'
import { type WantedServices, wantedServices } from './wanted.ts'

export interface HostServicesOptions {
  readonly agent: AgentContext
  readonly mesh: MeshSettings
  readonly replicas: View<ReplicaRecord>
  readonly loadBalancers: View<LoadBalancerRecord>
  readonly nodes: View<NodeRecord>
}

/** Names of the nodes whose agents are there. */
export function aliveNodes(nodes: View<NodeRecord>): Set<string> {
  return new Set([...nodes.entries.keys()].map(key => key.slice(keys.nodes.length)))
}

/** Changes that come within this time are one. */
const COLLECT_MS = 10
/** After a failure. */
const RETRY_MS = 1_000

export class HostServices {
  readonly #options: HostServicesOptions
  readonly #balancerOptions: LoadBalancerOptions & { readonly dataDirectory: string }
  readonly #kernel: MeshKernel
  #timer: NodeJS.Timeout | undefined
  /** When the timer runs out. */
  #due = 0
  #running: Promise<void> = Promise.resolve()
  #stopped = false
  #idleSince: number | undefined
  /** Replicas of services with virtual addresses, by network, as they were last. */
  readonly #keptReplicas = new Map<string, readonly IpAddress[]>()
  /** Conflicts that were told. */
  readonly #told = new Set<string>()

  constructor(options: HostServicesOptions) {
    this.#options = options
    const { socket, ipam } = options.agent.settings
    this.#balancerOptions = { mesh: options.mesh, socket, dataDirectory: ipam.directory }
    this.#kernel = new MeshKernel(options.mesh)
  }

  /** After a change: soon, and together with what changes meanwhile. */
  schedule(delayMs = COLLECT_MS): void {
    const due = Date.now() + delayMs
    if (this.#stopped || (this.#timer !== undefined && this.#due <= due)) return
    clearTimeout(this.#timer)
    this.#due = due
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.keepAll().catch(error => {
        this.#options.agent.log.error('services could not be kept', { error })
        this.schedule(RETRY_MS)
      })
    }, delayMs)
  }

  /** Makes everything as it is wanted. One at a time. @throws CniError, NetlinkError, SysError */
  keepAll(): Promise<void> {
    const mine = this.#running.then(() => this.#keep())
    this.#running = mine.catch(() => {})
    return mine
  }

  /** Isolation of the ingress network alone, at once. */
  keepIsolation(): void {
    this.#kernel.keepIsolation(this.#wanted())
  }

  /** A container has come to a network: it wants the virtual addresses, although nothing of the services has changed. */
  entered(network: string): void {
    if (this.#keptReplicas.has(network)) return
    const hasVirtual = [...this.#options.replicas.entries.values()].some(
      ({ value }) => value.network === network && value.services.some(one => one.virtualAddress !== undefined),
    )
    if (hasVirtual) this.schedule()
  }

  /** What is to be served here, for people to compare with what the kernel has. */
  ports(): readonly PublishedPort[] {
    return this.#wanted().ports
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#running
  }

  #wanted(): WantedServices {
    const { agent, mesh, replicas, loadBalancers, nodes } = this.#options
    const ingress = serviceKeys.loadBalancer(mesh.network, '')
    return wantedServices({
      node: agent.node,
      replicas: [...replicas.entries.values()].map(({ value }) => value),
      alive: aliveNodes(nodes),
      ingressNetwork: mesh.network,
      loadBalancers: [...loadBalancers.entries.values()]
        .filter(({ key }) => key.startsWith(ingress))
        .map(({ value }) => value),
    })
  }

  async #keep(): Promise<void> {
    if (this.#stopped) return
    const wanted = this.#wanted()
    this.#tell(wanted)
    // First what takes no time: the load balancer is made by a process that asks this one.
    this.#kernel.keep(wanted, findLoadBalancer())
    const balancer = await this.#keepLoadBalancer(wanted)
    if (balancer !== undefined) this.#kernel.keep(this.#wanted(), balancer)
    await this.#keepVirtualNetworks(wanted)
  }

  /** There when something is published in the mesh; away some time after the last of that. */
  async #keepLoadBalancer({ ports }: WantedServices): Promise<LoadBalancer | undefined> {
    const { agent, mesh, loadBalancers } = this.#options
    const present = findLoadBalancer()
    if (!ports.some(({ mode }) => mode === 'mesh')) {
      await this.#leave(present)
      return undefined
    }
    this.#idleSince = undefined
    const record = loadBalancers.entries.get(serviceKeys.loadBalancer(mesh.network, agent.node))?.value
    if (present !== undefined) {
      if (record === undefined || !sameAddresses(record.addresses, present.inner)) await this.#announce(present)
      return present
    }
    const created = await createLoadBalancer(this.#balancerOptions)
    agent.log.info('load balancer made', { addresses: created?.inner.map(formatPrefix) })
    return created
  }

  /** Nothing is published: something may be again soon. */
  async #leave(present: LoadBalancer | undefined): Promise<void> {
    if (present === undefined) return
    this.#idleSince ??= Date.now()
    const restMs = this.#idleSince + this.#options.mesh.idleSeconds * 1000 - Date.now()
    if (restMs > 0) this.schedule(restMs)
    else await removeLoadBalancer(this.#balancerOptions)
  }

  /** etcd does not have it, or not yet: it has been emptied, or the watch is behind. Repeating it changes nothing. */
  async #announce({ mac, inner }: LoadBalancer): Promise<void> {
    const { agent, mesh } = this.#options
    const attachment = { network: mesh.network, containerId: LOAD_BALANCER, ifname: INNER }
    await agent.join(attachment)
    await agent.publish({ ...attachment, mac: formatMac(mac), addresses: inner.map(formatPrefix) })
  }

  async #keepVirtualNetworks({ virtual }: WantedServices): Promise<void> {
    const { agent, loadBalancers } = this.#options
    const here = new Set(listNamespaces().map(({ name }) => name))
    const isHere = (network: string) => here.has(overlayNamespaceName(network))
    for (const [network, services] of virtual) {
      if (!isHere(network)) continue
      const key = serviceKeys.loadBalancer(network, agent.node)
      const present = ownAddresses(network)
      const record = loadBalancers.entries.get(key)?.value
      const isKnown = record !== undefined && sameAddresses(record.addresses, present)
      const own = isKnown ? present : await this.#enter(network, present)
      keepVirtualNetwork(network, own, services, this.#keptReplicas.get(network))
      this.#keptReplicas.set(
        network,
        services.flatMap(({ kept }) => kept),
      )
    }
    for (const [key] of loadBalancers.entries) {
      const [, network = '', node] = key.split('/')
      if (node !== agent.node || network === this.#options.mesh.network) continue
      if (virtual.has(network) && isHere(network)) continue
      clearVirtualNetwork(network)
      this.#keptReplicas.delete(network)
      await agent.withdraw({ network, containerId: LOAD_BALANCER, ifname: OVERLAY_BRIDGE })
      await returnAddresses(network, this.#balancerOptions)
    }
  }

  /** Makes the host's addresses in the network known; takes some when it has none. */
  async #enter(network: string, present: readonly Prefix[]): Promise<readonly Prefix[]> {
    const { agent } = this.#options
    const mac = bridgeMac(network)
    if (mac === undefined) return []
    // What an agent took that was killed before the bridge had it is given back first.
    if (present.length === 0) await returnAddresses(network, this.#balancerOptions)
    const addresses = present.length > 0 ? present : await takeAddresses(network, this.#balancerOptions)
    await agent.join({ network, containerId: LOAD_BALANCER, ifname: OVERLAY_BRIDGE })
    await agent.publish({
      network,
      containerId: LOAD_BALANCER,
      ifname: OVERLAY_BRIDGE,
      mac,
      addresses: addresses.map(formatPrefix),
    })
    agent.log.info('addresses for services with virtual addresses', {
      network,
      addresses: addresses.map(({ address }) => formatAddress(address)),
    })
    return addresses
  }

  #tell({ conflicts }: WantedServices): void {
    for (const { port, owner, other } of conflicts) {
      const key = `${port} ${owner} ${other}`
      if (this.#told.has(key)) continue
      this.#told.add(key)
      this.#options.agent.log.error('two services have published the same port', { port, owner, other })
    }
  }
}
