/** What services add to the transactions that publish and withdraw endpoints. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { PublishRequest, ServiceMembership } from '../../lib/overlay/agent-protocol.ts'
import { checkServices, formatPort, portPairs } from '../../lib/overlay/mesh/ports.ts'
import { refuseTakenPorts } from '../../lib/overlay/mesh/published-port.ts'
import { LOAD_BALANCER } from '../../lib/overlay/names.ts'
import type { Contribution } from '../context.ts'
import type { Condition, Operation, Store, View } from '../etcd/store.ts'
import type { AttachmentRecord } from '../records.ts'
import { type GuardRecord, type LoadBalancerRecord, type ReplicaRecord, serviceKeys } from './records.ts'

/** How long to wait until the watch has brought what a guard says is there. */
const VIEW_PATIENCE_MS = 5_000

/** What has to be known of the cluster. */
export interface Publishing {
  readonly node: string
  readonly store: Store
  /** Of all networks. */
  readonly replicas: View<ReplicaRecord>
  /** The network that published ports of mode mesh need. */
  readonly ingressNetwork: string
}

/** @throws CniError code 7 for what cannot be published, 104 for a port that another service has */
export async function publishServices(known: Publishing, request: PublishRequest): Promise<Contribution> {
  const { node } = known
  const { network, containerId, ifname, services = [], gatewayAddresses = [] } = request
  if (containerId === LOAD_BALANCER) {
    const value: LoadBalancerRecord = { node, addresses: request.addresses }
    return { operations: [{ put: serviceKeys.loadBalancer(network, node), value }] }
  }
  if (services.length === 0) return {}
  checkServices(services)
  refuseMisplaced(services, network, known.ingressNetwork, gatewayAddresses.length > 0)
  const key = serviceKeys.replica(node, request)
  const { conditions, operations } = await guards(known, services)
  refuseTakenPorts(
    services,
    [...known.replicas.entries.values()].filter(entry => entry.key !== key).flatMap(({ value }) => value.services),
  )
  const value: ReplicaRecord = {
    node,
    network,
    containerId,
    ifname,
    addresses: request.addresses.map(text => text.split('/')[0] ?? text),
    gatewayAddresses,
    services,
    draining: false,
  }
  return { conditions, operations: [...operations, { put: key, value }] }
}

/** Whatever the attachment had: on this node or on a dead one. */
export function withdrawServices(attachment: AttachmentRecord): Contribution {
  const { node, network, containerId } = attachment
  const key =
    containerId === LOAD_BALANCER ? serviceKeys.loadBalancer(network, node) : serviceKeys.replica(node, attachment)
  return { operations: [{ delete: key }] }
}

function refuseMisplaced(
  services: readonly ServiceMembership[],
  network: string,
  ingressNetwork: string,
  hasGateway: boolean,
): void {
  for (const { name, ports } of services) {
    for (const port of ports) {
      if (port.mode === 'mesh' && network !== ingressNetwork)
        throw new CniError(
          ErrorCode.invalidNetworkConfig,
          `service "${name}" publishes port ${formatPort(port)} in the mesh, but its network is "${network}"`,
          `published ports reach their replicas over the network "${ingressNetwork}": attach the container to it as well, with these "services" there, or use "mode": "local"`,
        )
      if (port.mode === 'local' && !hasGateway)
        throw new CniError(
          ErrorCode.invalidNetworkConfig,
          `service "${name}" publishes port ${formatPort(port)} in mode local, but the container has no interface on the gateway bridge in network "${network}"`,
          'remove "internal", or publish it from the network that is the container\'s way out',
        )
    }
  }
}

/**
 * Keys that every publication of these ports changes. When it succeeds, the view had all that was published before:
 * each change of a guard came together with a replica's key.
 */
async function guards(
  { node, store, replicas }: Publishing,
  services: readonly ServiceMembership[],
): Promise<{ conditions: Condition[]; operations: Operation[] }> {
  const keys = new Set(
    services.flatMap(({ ports }) =>
      ports.flatMap(port => portPairs(port).map(({ published }) => serviceKeys.guard(port.protocol, published))),
    ),
  )
  const conditions: Condition[] = []
  const operations: Operation[] = []
  let newest = 0
  for (const key of keys) {
    const revision = (await store.get<GuardRecord>(key))?.revision ?? 0
    newest = Math.max(newest, revision)
    conditions.push({ key, revision })
    operations.push({ put: key, value: { node } satisfies GuardRecord })
  }
  if (newest > 0 && !(await replicas.reaches(newest, VIEW_PATIENCE_MS)))
    throw new CniError(
      ErrorCode.tryAgainLater,
      `what other hosts have published has not arrived here within ${VIEW_PATIENCE_MS / 1000} s`,
      'see the log of overlayd about etcd',
    )
  return { conditions, operations }
}
