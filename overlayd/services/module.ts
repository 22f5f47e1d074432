/** Services as a module of the agent: what the cluster publishes is watched, and this host's part of it kept. */

import { formatAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { DrainRequest, ServicesAnswer } from '../../lib/overlay/agent-protocol.ts'
import { protocolName } from '../../lib/overlay/mesh/ports.ts'
import type { PublishedPort } from '../../lib/overlay/mesh/published-port.ts'
import type { AgentContext, Module } from '../context.ts'
import { keys } from '../etcd/keys.ts'
import type { View } from '../etcd/store.ts'
import type { NodeRecord } from '../records.ts'
import { aliveNodes, HostServices } from './host-services.ts'
import { foreignDrops } from './kernel.ts'
import { publishServices, withdrawServices } from './publishing.ts'
import { type LoadBalancerRecord, type ReplicaRecord, serviceKeys } from './records.ts'
import { readMeshSettings } from './settings.ts'

export const mesh: Module = agent => {
  const { node, store, settings, log } = agent
  const meshSettings = readMeshSettings(settings.mesh)
  let host: HostServices | undefined
  const changed = () => host?.schedule()
  const replicas = store.watch<ReplicaRecord>(serviceKeys.replicas, changed)
  const loadBalancers = store.watch<LoadBalancerRecord>(serviceKeys.loadBalancers, changed)
  // One of its own: nodes come and go without a key of services changing.
  const nodes = store.watch<NodeRecord>(keys.nodes, changed)
  const known = { node, store, replicas, ingressNetwork: meshSettings.network }
  agent.onPublish(async request => {
    const contribution = await publishServices(known, request)
    if (request.network === meshSettings.network) host?.keepIsolation()
    host?.entered(request.network)
    return contribution
  })
  agent.onWithdraw(async attachment => {
    // A network may leave this host with it.
    changed()
    return withdrawServices(attachment)
  })
  agent.serve('drain', request => drain(agent, request))
  agent.serve('services', async () => answerServices({ nodes, replicas, ports: host?.ports() ?? [] }))
  return {
    async start() {
      await Promise.all([replicas.ready, loadBalancers.ready, nodes.ready])
      host = new HostServices({ agent, mesh: meshSettings, replicas, loadBalancers, nodes })
      for (const chain of foreignDrops())
        log.warn('another program drops what is forwarded unless it knows it: published ports may not be reached', {
          chain,
        })
      // Not waited for: the load balancer is made by a process that asks this one.
      host.schedule()
      // Firewalls are reloaded, and addresses of load balancers may be taken away.
      agent.every(settings.reconcileSeconds, 'keep the tables of services', async () => host?.keepAll())
    },
    async stop() {
      replicas.close()
      loadBalancers.close()
      nodes.close()
      await host?.stop()
    },
  }
}

const ATTEMPTS = 10

/** @throws CniError code 3 for an attachment that is no replica on this host */
async function drain(
  { node, store }: AgentContext,
  { draining, ...attachment }: DrainRequest,
): Promise<Record<string, never>> {
  const key = serviceKeys.replica(node, attachment)
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const entry = await store.get<ReplicaRecord>(key)
    if (entry === undefined) break
    if (entry.value.draining === draining) return {}
    if (await store.compareAndSet(key, entry.revision, { ...entry.value, draining })) return {}
  }
  const { network, containerId, ifname } = attachment
  throw new CniError(
    ErrorCode.unknownContainer,
    `container "${containerId}" with "${ifname}" in network "${network}" is no replica of a service on this host`,
    'drain it on the host that it runs on',
  )
}

function answerServices(known: {
  readonly nodes: View<NodeRecord>
  readonly replicas: View<ReplicaRecord>
  readonly ports: readonly PublishedPort[]
}): ServicesAnswer {
  const alive = aliveNodes(known.nodes)
  return {
    replicas: [...known.replicas.entries.values()].map(({ value }) => {
      const { node, network, containerId, ifname, addresses, gatewayAddresses, services, draining } = value
      const attachment = { node, network, containerId, ifname, addresses, gatewayAddresses }
      return { ...attachment, services, draining, alive: alive.has(node) }
    }),
    ports: known.ports.map(({ service, protocol, port, mode, affinity, hostAddresses, targets }) => ({
      service,
      protocol: protocolName(protocol),
      published: port,
      mode,
      affinity,
      hostAddresses: hostAddresses.map(formatAddress),
      targets: targets.map(target => ({ address: formatAddress(target.address), port: target.port })),
    })),
    foreignDrops: foreignDrops(),
  }
}
