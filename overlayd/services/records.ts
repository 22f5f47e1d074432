/** What services are in etcd, by key. */

import type { AgentAttachment, ServiceMembership } from '../../lib/overlay/agent-protocol.ts'

/** services/<network>/<node>/<containerId>/<ifname>: an attachment that is a replica of services. */
export interface ReplicaRecord extends AgentAttachment {
  readonly node: string
  /** In the network, without prefix lengths. */
  readonly addresses: readonly string[]
  /** On the gateway bridge of its host. */
  readonly gatewayAddresses: readonly string[]
  readonly services: readonly ServiceMembership[]
  readonly draining: boolean
}

/** load-balancers/<network>/<node>: the host's own addresses in a network, which requests to replicas come from. */
export interface LoadBalancerRecord {
  readonly node: string
  /** With prefix lengths. */
  readonly addresses: readonly string[]
}

/**
 * published/<protocol>/<block>: changed with every transaction that publishes ports of the block, so that of two that
 * claim the same port at the same time one has to look again.
 */
export interface GuardRecord {
  readonly node: string
}

/** As many ports share a guard: a range of all ports takes 64 of etcd's 128 operations in a transaction. */
const PORTS_IN_GUARD = 1024

export const serviceKeys = {
  replicas: 'services/',
  replica: (node: string, { network, containerId, ifname }: AgentAttachment) =>
    `services/${network}/${node}/${containerId}/${ifname}`,
  loadBalancers: 'load-balancers/',
  loadBalancer: (network: string, node: string) => `load-balancers/${network}/${node}`,
  guard: (protocol: string, port: number) => `published/${protocol}/${Math.floor(port / PORTS_IN_GUARD)}`,
} as const
