/** Services on a cluster with agents: containers in the networks "ingress" and "web", and clients of what they publish. */

import { join } from 'node:path'
import type { Test } from 'tap'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import type { AgentAnswer, AgentRequest, AgentVerb, ServicePort } from '../../lib/overlay/agent-protocol.ts'
import { type Attachment, type ClusterHost, Network, type NetworkNamespace, pluginDirectory } from '../harness/index.ts'
import { answers, startServer } from './mesh-fixture.ts'
import { type Agents, withAgents } from './overlayd-fixture.ts'

/** A cluster whose agents make load balancers of the plugins under test. */
export function withMesh(t: Test, hosts: number, use: (agents: Agents) => Promise<void>): Promise<void> {
  return withAgents(t, { hosts, settings: { mesh: { pluginDirectory, idleSeconds: 1 } } }, use)
}

const ingressRanges = [[{ subnet: '10.255.0.0/16' }], [{ subnet: 'fd63:6e69:6b69:ff::/64' }]]

/** The network over which published ports reach their replicas. */
export function ingressOn(host: ClusterHost): Network {
  return clusterNetwork(host, 'ingress', ingressRanges)
}

/** A network whose addresses come from a pool of the cluster. */
export function clusterNetwork(host: ClusterHost, name: string, ranges: object[][], config: object = {}): Network {
  const controlPlane = { type: 'etcd' }
  return new Network(host, { name, type: 'overlay', controlPlane, ipam: { type: 'cluster', ranges }, ...config })
}

type PublishedPort = Partial<ServicePort> & Pick<ServicePort, 'published'>

export interface ServiceOptions {
  readonly name?: string
  readonly affinity?: 'none' | 'client'
  readonly virtualAddress?: string
  readonly ports?: readonly PublishedPort[]
}

/** A service whose port 80 is published on 8080 for TCP and UDP, unless told otherwise. */
export function serviceOf({ ports, ...options }: ServiceOptions = {}): object {
  const usual = (['tcp', 'udp'] as const).map(protocol => ({ published: 8080, target: 80, protocol }))
  return { name: 'web', ...options, ports: ports ?? usual }
}

/** A container that answers with its name on ports 80 to 82. */
export interface Replica {
  readonly name: string
  readonly attachment: Attachment
  readonly container: NetworkNamespace
}

let made = 0

/** Attaches a container that is a replica of the services, and has it serve. */
export async function startReplica(network: Network, services: readonly object[]): Promise<Replica> {
  const attachment = network.attach({ config: { services } })
  const name = `replica${++made}`
  await startServer(network.host, attachment.container, name)
  return { name, attachment, container: attachment.container }
}

/** Which replicas answer so many connections; sorted, each once. */
export function whoAnswers(
  from: NetworkNamespace,
  transport: 'tcp' | 'udp',
  address: string,
  port: number,
  count = 12,
): string[] {
  const names = answers(from, transport, address, port, { count }).map(line => line.split(' ')[0] ?? '')
  return [...new Set(names)].sort()
}

/** What a program on the host says to its agent. */
export function tellAgent<V extends AgentVerb>(host: ClusterHost, verb: V, request: AgentRequest<V>): AgentAnswer<V> {
  return callAgent(join(host.runDirectory, 'cnikit/overlayd.sock'), verb, request)
}
