/** What a large cluster asks of etcd, of an agent and of the kernel: a thousand hosts, and 100,000 containers in one network. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { IpAddress } from '../../lib/address/address.ts'
import { openNamespace } from '../../lib/netns/index.ts'
import { setPeers } from '../../lib/overlay/peers.ts'
import { Etcd, type Network, OverlayAgent, repositoryRoot, until } from '../../test/harness/index.ts'
import { agentNetwork } from '../../test/netns/overlayd-fixture.ts'
import { manyEndpoints } from '../../test/netns/overlayd-many.ts'
import { agentSettings, mebibytes, peakMebibytes } from '../agent.ts'
import type { Case, Row } from '../case.ts'
import { onCluster } from '../cluster.ts'
import type { WatchingHosts, WatchingSamples } from '../watching-hosts.ts'

const HOSTS = 1_000
const ENDPOINTS = 100_000
const NETWORKS = 20
const MEBIBYTE = 2 ** 20

const row = (what: string, unit: Row['unit'], ours: readonly number[]): Row => ({ what, unit, go: [], ours })

/** Of the kernel's own memory, what it cannot give back, in MiB. */
function kernelMebibytes(): number {
  const [, kibibytes] = /^SUnreclaim:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'latin1')) ?? []
  return Number(kibibytes) / 1024
}

/** How soon so many hosts hear of a change, and how many events etcd sends when changes come fast. */
function watching(changes: number): Promise<Row[]> {
  return onCluster(1, async cluster => {
    const { endpoints } = await Etcd.start(cluster)
    const program = join(repositoryRoot, 'dist/node/bench/watching-hosts.js')
    const argv = [
      process.execPath,
      program,
      JSON.stringify({ endpoints, hosts: HOSTS, changes } satisfies WatchingHosts),
    ]
    const { status, stdout, stderr } = await cluster.host(1).start(argv).ended
    if (status !== 0) throw new Error(`${program} ended with status ${status}: ${stderr}`)
    const { last, events } = JSON.parse(stdout) as WatchingSamples
    return [
      row('from a change in etcd until the last of 1,000 hosts has it', 'ms', last),
      row('events to these hosts, changes as fast as they can be made', 'per s', [events]),
    ]
  })
}

/** Milliseconds for the filter when a host comes to, or leaves, one of so many networks that have all hosts. */
function filterChanges(networks: number, changes: number): Promise<number[]> {
  const hosts = Array.from({ length: HOSTS - 1 }, (_, host) => Uint8Array.of(198, 18, host >> 8, host & 255))
  const set = (network: number, peers: readonly IpAddress[]) =>
    setPeers({ network: `network-${network}`, port: 4789, vni: 4096 + network, peers })
  return onCluster(1, cluster => {
    const namespace = openNamespace(cluster.host(1).path)
    try {
      return namespace.run(() => {
        for (let network = 0; network < networks; network++) set(network, hosts)
        return Array.from({ length: changes }, (_, change) => {
          const started = performance.now()
          set(0, change % 2 === 0 ? hosts.slice(1) : hosts)
          return performance.now() - started
        })
      })
    } finally {
      namespace.close()
    }
  })
}

/** The records of as many containers as there are endpoints: with those that only their own hosts read. */
function attachmentsOf(endpoints: ReadonlyMap<string, object>): ReadonlyMap<string, object> {
  const attachments = new Map<string, object>()
  for (const [key, value] of endpoints) {
    const { node, containerId, ...rest } = value as Record<string, string>
    const addresses = [`${key.slice(key.lastIndexOf('/') + 1)}/8`]
    const record = { node, containerId, ...rest, network: 'web', addresses, services: [], gatewayAddresses: [] }
    attachments.set(`attachments/${node}/web/${containerId}/eth0`, record)
  }
  return attachments
}

/** Bytes of keys and values. */
const sizeOf = (records: ReadonlyMap<string, object>): number =>
  [...records].reduce((sum, [key, value]) => sum + `/cnikit/v1/${key}${JSON.stringify(value)}`.length, 0)

/** Mean milliseconds of bringing the tables in line, for changes that come one by one. */
async function oneByOne(agent: OverlayAgent, etcd: Etcd, changes: number): Promise<number> {
  const before = { sum: agent.metric('reconcile_seconds_sum'), count: agent.metric('reconcile_seconds_count') }
  const written = agent.metric('row_changes_total')
  const more = [...manyEndpoints(ENDPOINTS + changes, HOSTS)].slice(ENDPOINTS)
  for (const [index, [key, value]] of more.entries()) {
    etcd.put(key, value)
    await until('its rows are written', () => agent.metric('row_changes_total') >= written + 3 * (index + 1), 60)
  }
  const seconds = agent.metric('reconcile_seconds_sum') - before.sum
  return (seconds * 1000) / (agent.metric('reconcile_seconds_count') - before.count)
}

async function measureAgent(agent: OverlayAgent, etcd: Etcd, network: Network): Promise<Row[]> {
  const attachment = network.attachment()
  const [kernel, started] = [kernelMebibytes(), performance.now()]
  attachment.add()
  const add = performance.now() - started
  const tables = kernelMebibytes() - kernel
  const resident = mebibytes(agent)
  const asked = performance.now()
  attachment.check()
  const check = performance.now() - asked
  const change = await oneByOne(agent, etcd, 5)
  const peak = peakMebibytes(agent)
  attachment.del()
  return [
    row('ADD of the first container where 100,000 endpoints are elsewhere', 'ms', [add]),
    row("the kernel's memory for their 300,000 rows", 'MiB', [tables]),
    row("the agent's memory when that ADD has returned", 'MiB', [resident]),
    row('the most that it has had', 'MiB', [peak]),
    row('CHECK, which compares all the rows', 'ms', [check]),
    row('one endpoint more, work of the agent', 'ms', [change]),
  ]
}

function everybody(): Promise<Row[]> {
  return onCluster(1, async cluster => {
    const host = cluster.host(1)
    const etcd = await Etcd.start(cluster)
    const endpoints = manyEndpoints(ENDPOINTS, HOSTS)
    const attachments = attachmentsOf(endpoints)
    for (const records of [endpoints, attachments]) etcd.putAll(records)
    const agent = new OverlayAgent(host, etcd, agentSettings)
    await agent.start()
    const rows = [
      row('keys and values of the endpoints, which every host with the network reads', 'MiB', [
        sizeOf(endpoints) / MEBIBYTE,
      ]),
      row("etcd's file with them and their hosts' own lists", 'MiB', [etcd.fileBytes() / MEBIBYTE]),
    ]
    return [...rows, ...(await measureAgent(agent, etcd, agentNetwork(cluster, host)))]
  })
}

export const overlaydScale: Case = {
  name: 'overlayd-scale',
  async run(_, runs) {
    const filter = await filterChanges(NETWORKS, runs)
    return [
      ...(await watching(Math.max(20, runs))),
      row('a host more or less in one of 20 networks with 1,000 hosts, peer filter', 'ms', filter),
      ...(await everybody()),
    ]
  },
}
