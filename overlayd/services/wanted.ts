/** What this host is to do for services, computed from what the cluster has published. Pure. */

import { type IpAddress, parseAddress } from '../../lib/address/address.ts'
import { isPrefix, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import type { VirtualService } from '../../lib/overlay/mesh/network-table.ts'
import {
  type PortConflict,
  type PublishedPort,
  publishedPorts,
  type Replica,
} from '../../lib/overlay/mesh/published-port.ts'
import type { LoadBalancerRecord, ReplicaRecord } from './records.ts'

export interface ClusterServices {
  readonly node: string
  readonly replicas: readonly ReplicaRecord[]
  /** Nodes whose agents are there. */
  readonly alive: ReadonlySet<string>
  readonly ingressNetwork: string
  /** The load balancers in the ingress network. */
  readonly loadBalancers: readonly LoadBalancerRecord[]
}

export interface WantedVirtualService extends VirtualService {
  /** With the replicas that drain, and those of nodes that are away: their connections go on. */
  readonly kept: readonly IpAddress[]
}

export interface WantedServices {
  /** What new connections go to. */
  readonly ports: readonly PublishedPort[]
  /** With the replicas that drain, and those of nodes that are away: what may be reached over the ingress network. */
  readonly reachable: readonly PublishedPort[]
  readonly conflicts: readonly PortConflict[]
  /** Load balancers of the ingress network on all hosts. */
  readonly loadBalancers: readonly IpAddress[]
  /** Services with a virtual address, by network. */
  readonly virtual: ReadonlyMap<string, readonly WantedVirtualService[]>
}

export function wantedServices(cluster: ClusterServices): WantedServices {
  const { node, replicas, alive } = cluster
  const asReplica = (record: ReplicaRecord, draining: boolean): Replica => ({
    addresses: addressesOf(record.addresses),
    ...(record.node === node ? { localAddresses: addressesOf(record.gatewayAddresses) } : {}),
    services: record.services,
    draining,
  })
  const idle = withoutAbsent(replicas, alive)
  const { ports, conflicts } = publishedPorts(
    replicas.map(record => asReplica(record, record.draining || idle.has(record))),
  )
  const { ports: reachable } = publishedPorts(replicas.map(record => asReplica(record, false)))
  return {
    ports,
    reachable,
    conflicts,
    loadBalancers: cluster.loadBalancers.flatMap(({ addresses }) =>
      prefixesOf(addresses).map(({ address }) => address),
    ),
    virtual: virtualServices(replicas, record => record.draining || idle.has(record)),
  }
}

export const addressesOf = (texts: readonly string[]): IpAddress[] =>
  texts.map(parseAddress).filter(address => address !== undefined)
export const prefixesOf = (texts: readonly string[]): Prefix[] => texts.map(parsePrefix).filter(isPrefix)

/**
 * Replicas of nodes that are away get no new connections as long as a service has others; where it has none, the node's
 * agent alone may be away, and its containers still be there.
 */
function withoutAbsent(replicas: readonly ReplicaRecord[], alive: ReadonlySet<string>): Set<ReplicaRecord> {
  const served = new Set<string>()
  for (const { node, network, services, draining } of replicas) {
    if (!draining && alive.has(node)) for (const { name } of services) served.add(`${network} ${name}`)
  }
  return new Set(
    replicas.filter(
      ({ node, network, services }) =>
        !alive.has(node) && services.every(({ name }) => served.has(`${network} ${name}`)),
    ),
  )
}

function virtualServices(
  replicas: readonly ReplicaRecord[],
  isIdle: (record: ReplicaRecord) => boolean,
): Map<string, WantedVirtualService[]> {
  const services = new Map<string, WantedVirtualService & { replicas: IpAddress[]; kept: IpAddress[] }>()
  const networks = new Map<string, WantedVirtualService[]>()
  for (const record of replicas.toSorted((a, b) => (a.addresses.join() < b.addresses.join() ? -1 : 1))) {
    for (const { name, affinity, virtualAddress } of record.services) {
      const address = virtualAddress === undefined ? undefined : parseAddress(virtualAddress)
      if (address === undefined) continue
      const key = `${record.network} ${name}`
      let service = services.get(key)
      if (service === undefined) {
        service = { name, affinity, virtualAddress: address, replicas: [], kept: [] }
        services.set(key, service)
        networks.set(record.network, [...(networks.get(record.network) ?? []), service])
      }
      const { length } = service.virtualAddress
      const own = addressesOf(record.addresses).filter(one => one.length === length)
      service.kept.push(...own)
      if (!isIdle(record)) service.replicas.push(...own)
    }
  }
  return networks
}
