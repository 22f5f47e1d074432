/** Clusters with etcd and an agent on each host. */

import type { Test } from 'tap'
import {
  type Cluster,
  type ClusterHost,
  Etcd,
  type EtcdOptions,
  OverlayAgent,
  until,
  withCluster,
} from '../harness/index.ts'
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

/** Of a hardware address, and an address, that no container has. */
const marks = (number: number): { mac: string; address: string } => ({
  mac: `02:ff:ff:ff:ff:0${number}`,
  address: `10.255.255.${number}`,
})

/**
 * Listens to the kernel's announcements of changes in a network's tables on a host; returns when they are heard.
 * @returns ends it, and gives what was announced in between: one line for each change
 */
export async function tableChanges(host: ClusterHost, network = 'web'): Promise<() => Promise<string[]>> {
  const overlay = host.named(`overlay-${network}`)
  const monitors = ['bridge monitor fdb', 'ip monitor neigh'].map(command =>
    host.start(command.split(' '), { inside: overlay }),
  )
  // A change of our own in each table is heard: so is everything before it, and after it.
  const heard = async (number: number) => {
    const { mac, address } = marks(number)
    const entry = [mac, 'dev', 'vxlan0', 'self']
    await until('changes are announced', () => {
      overlay.output(['bridge', 'fdb', 'replace', ...entry, 'dst', '192.0.2.250'])
      overlay.ip(`neigh replace ${address} lladdr ${mac} dev br0 nud permanent`)
      overlay.output(['bridge', 'fdb', 'del', ...entry])
      overlay.ip(`neigh del ${address} dev br0`)
      return monitors.every(monitor => monitor.said.includes(mac))
    })
  }
  await heard(1)
  return async () => {
    await heard(2)
    await Promise.all(monitors.map(monitor => monitor.stop()))
    const lines = monitors.flatMap(monitor => monitor.said.split('\n')).filter(line => line.trim() !== '')
    const isOurs = (line: string) =>
      [1, 2].map(marks).some(({ mac, address }) => line.includes(mac) || line.includes(address))
    return lines.filter(line => !isOurs(line))
  }
}
