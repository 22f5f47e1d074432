/** What is wanted of services, written into the kernel: nothing is written where nothing differs. Synchronous. */

import type { IpAddress } from '../../lib/address/address.ts'
import {
  type DeclaredTable,
  hasChanged,
  keepTable,
  removeTable,
  type TableChange,
} from '../../lib/firewall/nftables/declared-table.ts'
import { droppingChains } from '../../lib/firewall/nftables/dropping-chains.ts'
import { requireNftables } from '../../lib/firewall/nftables/socket.ts'
import { NetlinkProtocol, type NetlinkSocket } from '../../lib/netlink/socket.ts'
import {
  type NetworkNamespace,
  openNamespaceIfExists,
  readSysctlIfExists,
  writeSysctlIfExists,
} from '../../lib/netns/index.ts'
import { hostTable } from '../../lib/overlay/mesh/host-table.ts'
import { ingressTable } from '../../lib/overlay/mesh/ingress-table.ts'
import { ingressIsolation } from '../../lib/overlay/mesh/isolation-table.ts'
import type { PublishedPort } from '../../lib/overlay/mesh/published-port.ts'
import { meshTable } from '../../lib/overlay/mesh/rules.ts'
import {
  forgetReplicas,
  forgetUnanswered,
  replicasGone,
  replicasMissed,
  targetAddresses,
  udpPortsAdded,
} from '../../lib/overlay/mesh/stale-connections.ts'
import { OVERLAY_VXLAN } from '../../lib/overlay/names.ts'
import { withOverlay } from '../../lib/overlay/namespace.ts'
import { INNER, innerPort, type LoadBalancer, openOuterPort } from './load-balancer.ts'
import type { MeshSettings } from './settings.ts'
import type { WantedServices } from './wanted.ts'

/** Writes a sysctl of the calling thread's network namespace that has another value. */
export function keepSysctl(name: string, value: string): void {
  const present = readSysctlIfExists(name)
  if (present !== undefined && present !== value) writeSysctlIfExists(name, value)
}

/** Gives a function a netfilter socket of a namespace. */
export function withNetfilter<T>(namespace: NetworkNamespace, use: (socket: NetlinkSocket) => T): T {
  const socket = namespace.openSocket(NetlinkProtocol.netfilter)
  try {
    return use(socket)
  } finally {
    socket.close()
  }
}

export class MeshKernel {
  readonly #mesh: MeshSettings
  /** Where connections of each table led to when it was last kept: also to replicas that drain, which it does not have. */
  readonly #known = new Map<string, readonly IpAddress[]>()

  constructor(mesh: MeshSettings) {
    this.#mesh = mesh
  }

  /**
   * The tables of this host, of its load balancer and of the ingress network.
   * @returns how many tables had to be changed @throws CniError, NetlinkError, SysError
   */
  keep(wanted: WantedServices, balancer: LoadBalancer | undefined): number {
    return (
      this.#keepIsolation(wanted) +
      (balancer === undefined ? 0 : this.#keepIngress(wanted, balancer)) +
      this.#keepHost(wanted, balancer)
    )
  }

  /** Before an endpoint of the ingress network is announced: nobody is to reach it before it is kept apart. */
  keepIsolation(wanted: WantedServices): void {
    this.#keepIsolation(wanted)
  }

  #keepIsolation({ reachable, loadBalancers }: WantedServices): number {
    return withOverlay(this.#mesh.network, overlay => {
      if (overlay === undefined) return 0
      const trusted = [OVERLAY_VXLAN, innerPort(this.#mesh)]
      const table = ingressIsolation({ trusted, loadBalancers, ports: reachable })
      return withNetfilter(overlay.namespace, socket => counted(keepTable(socket, table)))
    })
  }

  #keepIngress(
    { ports, reachable }: WantedServices,
    { path, inner, outer, outerAddresses, gateways }: LoadBalancer,
  ): number {
    const namespace = openNamespaceIfExists(path)
    if (namespace === undefined) return 0
    try {
      namespace.run(() => {
        for (const name of ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding']) keepSysctl(name, '1')
        // The host leads answers to containers beside this one back through itself.
        for (const name of ['all', outer]) keepSysctl(`net/ipv4/conf/${name}/accept_redirects`, '0')
      })
      openOuterPort(this.#mesh)
      const table = ingressTable({
        outer,
        outerAddresses,
        gateways,
        inner: INNER,
        addresses: inner.map(({ address }) => address),
        ports,
      })
      return withNetfilter(namespace, socket => this.#keepTranslating(socket, path, table, reachable, 'replicas'))
    } finally {
      namespace.close()
    }
  }

  #keepHost({ ports, reachable }: WantedServices, balancer: LoadBalancer | undefined): number {
    const { gatewayBridge } = this.#mesh
    const own = ports.filter(({ mode, targets }) => (mode === 'mesh' ? balancer !== undefined : targets.length > 0))
    const socket = requireNftables('services', 'publish no ports in this cluster')
    try {
      if (own.length === 0) return this.#clearHost(socket)
      // Connections of the host itself to 127.0.0.1: the table guards what this would open.
      keepSysctl(`net/ipv4/conf/${gatewayBridge}/route_localnet`, '1')
      const ingress = balancer?.outerAddresses ?? []
      const table = hostTable({ gateway: gatewayBridge, ingress, ports: own })
      const local = reachable.filter(({ mode }) => mode === 'local')
      return this.#keepTranslating(socket, 'host', table, local, 'published', ingress)
    } finally {
      socket.close()
    }
  }

  /** Nothing is published any more. */
  #clearHost(socket: NetlinkSocket): number {
    if (!removeTable(socket, meshTable)) return 0
    forgetReplicas(socket, this.#known.get('host') ?? [])
    this.#known.delete('host')
    return 1
  }

  /** Keeps a table that translates, and has UDP connections forgotten that would not take notice of the change. */
  #keepTranslating(
    socket: NetlinkSocket,
    place: string,
    table: DeclaredTable,
    reachable: readonly PublishedPort[],
    entrance: string,
    others: readonly IpAddress[] = [],
  ): number {
    const change = keepTable(socket, table)
    const known = [...targetAddresses(reachable), ...others]
    const before = this.#known.get(place)
    this.#known.set(place, known)
    if (before === undefined) {
      const published = new Set(reachable.map(({ port }) => port))
      forgetReplicas(
        socket,
        replicasMissed(socket, known, port => published.has(port)),
      )
    }
    forgetReplicas(socket, replicasGone(change, known, before))
    forgetUnanswered(socket, [
      ...new Set([...udpPortsAdded(change, entrance), ...udpPortsAdded(change, `${entrance}6`)]),
    ])
    return counted(change)
  }
}

const counted = (change: TableChange): number => (hasChanged(change) ? 1 : 0)

/** Chains of other programs on this host that may drop what is forwarded to services. */
export function foreignDrops(): string[] {
  const socket = requireNftables('services', 'publish no ports in this cluster')
  try {
    return droppingChains(socket, 'forward')
  } finally {
    socket.close()
  }
}
