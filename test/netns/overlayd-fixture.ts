/** Clusters with etcd and an agent on each host. */

import type { Test } from 'tap'
import { type Cluster, type ClusterHost, Etcd, type EtcdOptions, OverlayAgent, withCluster } from '../harness/index.ts'
import { overlayOn } from './overlay-fixture.ts'

export interface Agents {
  readonly cluster: Cluster
  readonly etcd: Etcd
  readonly agents: readonly OverlayAgent[]
  /** The agent of a host, from 1. */
  agent(number: number): OverlayAgent
}

export interface AgentsOptions extends EtcdOptions {
  readonly hosts?: number
  /** Of every agent. */
  readonly settings?: object
}

/** Gives the test a cluster whose agents serve. */
export async function withAgents(
  t: Test,
  { hosts = 2, settings = {}, ...options }: AgentsOptions,
  use: (agents: Agents) => Promise<void>,
): Promise<void> {
  await withCluster(t, { hosts }, async cluster => {
    const etcd = await Etcd.start(cluster, options)
    const agents = cluster.hosts.map(host => new OverlayAgent(host, etcd, settings))
    const agent = (number: number) => {
      const found = agents[number - 1]
      if (found === undefined) throw new RangeError(`no agent ${number}`)
      return found
    }
    await Promise.all(agents.map(one => one.start()))
    await use({ cluster, etcd, agents, agent })
  })
}

/** The network "web" on a host, kept by its agent; dual stack, each host with its own part of the subnets. */
export function agentNetwork(cluster: Cluster, host: ClusterHost, config: object = {}) {
  return overlayOn(cluster, host, { vni: undefined, controlPlane: { type: 'etcd' }, internal: true, ...config })
}

/** The rows of a network on a host that an agent has written, as `bridge fdb` and `ip neighbour` show them. */
export function rowsOn(host: ClusterHost, network = 'web'): string[] {
  const overlay = host.named(`overlay-${network}`)
  const fdb = overlay.output(['bridge', 'fdb', 'show', 'dev', 'vxlan0']).split('\n')
  const neighbours = overlay.output(['ip', 'neighbour', 'show', 'dev', 'br0']).split('\n')
  return [...fdb, ...neighbours]
    .map(line => line.trim())
    .filter(line => line.includes('extern_learn') || /^(?!00:00:00:00:00:00).* dst .* self/.test(line))
    .toSorted()
}
