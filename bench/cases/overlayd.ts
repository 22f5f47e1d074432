/** The agent with real etcd: how soon hosts hear of a container, and ten thousand of them on other hosts. */

import { join } from 'node:path'
import {
  type Attachment,
  type Cluster,
  type ClusterHost,
  Etcd,
  OverlayAgent,
  repositoryRoot,
  until,
} from '../../test/harness/index.ts'
import { agentNetwork, tableChanges } from '../../test/netns/overlayd-fixture.ts'
import { manyEndpoints } from '../../test/netns/overlayd-many.ts'
import { agentSettings, mebibytes, peakMebibytes } from '../agent.ts'
import type { Case, Row } from '../case.ts'
import { onCluster } from '../cluster.ts'
import type { FirstReplies } from '../first-reply.ts'
import { pluginCommand } from '../plugin-command.ts'
import { answer, type Command, measure } from '../process.ts'
import { percentile } from '../statistics.ts'

interface Agents {
  readonly cluster: Cluster
  readonly etcd: Etcd
  readonly agents: readonly OverlayAgent[]
}

function withAgents<T>(hosts: number, use: (agents: Agents) => Promise<T>): Promise<T> {
  return onCluster(hosts, async cluster => {
    const etcd = await Etcd.start(cluster)
    const agents = cluster.hosts.map(host => new OverlayAgent(host, etcd, agentSettings))
    await Promise.all(agents.map(agent => agent.start()))
    return use({ cluster, etcd, agents })
  })
}

const program = join(repositoryRoot, 'dist/node/bench/first-reply.js')

/** A host with a container that stays in the network, and another one's ADD and DEL. */
interface Place {
  readonly host: ClusterHost
  readonly resident: Attachment
  readonly attachment: { readonly del: Command; readonly add: Command }
}

/** @param first the container that comes and goes is the first of the network on its host, and its host new to the others */
function placesOn(cluster: Cluster, name: string, first: boolean): Place[] {
  return cluster.hosts.map(host => {
    const network = agentNetwork(cluster, host, { name })
    const resident = network.attach()
    const { container, containerId } = first ? resident : network.attach()
    const call = { plugins: network.pluginDir, plugin: 'overlay', config: network.config, containerId }
    const prepare = (command: 'ADD' | 'DEL') => {
      const directory = join(host.directory, `${name}-${command}`)
      return pluginCommand({ ...call, command, netns: container.path, directory }, argv => host.enter(argv))
    }
    return { host, resident, attachment: { del: prepare('DEL'), add: prepare('ADD') } }
  })
}

/** Milliseconds from the return of ADD on one host to the first answer on another, for every pair of hosts. */
async function firstReplies(cluster: Cluster, places: readonly Place[], rounds: number): Promise<number[]> {
  const samples: number[] = []
  for (const asking of places) {
    const attachments = places.filter(one => one !== asking).map(({ attachment }) => attachment)
    const argv = [process.execPath, program, JSON.stringify({ rounds, attachments } satisfies FirstReplies)]
    const { container } = asking.resident
    const { status, stdout, stderr } = await cluster.underlay.start(argv, { inside: container }).ended
    if (status !== 0) throw new Error(`${program} ended with status ${status}: ${stderr}`)
    samples.push(...(JSON.parse(stdout) as number[]))
  }
  return samples
}

/**
 * Milliseconds from the return of ADD until the kernels of all other hosts have announced the forwarding entry. (A reply
 * may come sooner: what nobody knows the way to goes to all hosts.)
 */
async function entriesElsewhere(name: string, places: readonly Place[], rounds: number): Promise<number[]> {
  const monitors = places.map(({ host }) => {
    const inside = host.named(`overlay-${name}`)
    return { host, child: host.start(['bridge', 'monitor', 'fdb'], { inside }) }
  })
  await until('all listen', () => {
    for (const { attachment } of places) for (const command of [attachment.del, attachment.add]) measure(command)
    return monitors.every(({ child }) => child.said !== '')
  })
  const samples: number[] = []
  for (let round = 0; round < rounds; round++) {
    for (const { host, attachment } of places) {
      measure(attachment.del)
      measure(attachment.add)
      const returned = performance.now()
      const { interfaces } = JSON.parse(answer(attachment.add)) as { interfaces: readonly { mac: string }[] }
      const entry = new RegExp(`^${interfaces[0]?.mac} dev vxlan0 dst`, 'm')
      const others = monitors.filter(monitor => monitor.host !== host)
      await Promise.all(others.map(({ child }) => child.says(entry)))
      samples.push(performance.now() - returned)
    }
  }
  await Promise.all(monitors.map(({ child }) => child.stop()))
  return samples
}

function replyRows(what: string, samples: readonly number[]): Row[] {
  const row = { unit: 'ms' as const, go: [] }
  const whole = `from the return of ADD to the first reply on another host, ${what}`
  return [
    { ...row, what: whole, ours: samples, target: 'at most 20 ms' },
    { ...row, what: 'the same, 99th percentile', ours: [percentile(samples, 99)], target: 'at most 100 ms' },
  ]
}

function entryRows(samples: readonly number[]): Row[] {
  const row = { unit: 'ms' as const, go: [] }
  return [
    { ...row, what: 'from the return of ADD until four other hosts have the forwarding entry', ours: samples },
    { ...row, what: 'the same, 99th percentile', ours: [percentile(samples, 99)] },
  ]
}

const ENDPOINTS = 10_000
/** Two for each MAC, one for each address. */
const ROWS = 3 * ENDPOINTS
/** 150 MB. */
const MEMORY_TARGET = 'at most 143 MiB'

/** An agent among ten thousand endpoints: when it hears of them, and when it is started anew and finds them in place. */
async function tenThousand({ cluster, etcd, agents }: Agents, rounds: number): Promise<Row[]> {
  const [host, agent] = [cluster.host(1), agents[0]]
  if (agent === undefined) throw new RangeError('one host is wanted')
  etcd.putAll(manyEndpoints(ENDPOINTS))
  const add: number[] = []
  const tables: number[] = []
  const resident: number[] = []
  const peak: number[] = []
  const serving: number[] = []
  const rewritten: number[] = []
  const network = agentNetwork(cluster, host)
  for (let round = 0; round < rounds; round++) {
    const attachment = network.attachment()
    const before = agent.metric('reconcile_seconds_sum')
    const started = performance.now()
    attachment.add()
    add.push(performance.now() - started)
    tables.push((agent.metric('reconcile_seconds_sum') - before) * 1000)
    resident.push(mebibytes(agent))
    peak.push(peakMebibytes(agent))
    const changes = await tableChanges(host)
    await agent.stop('SIGKILL')
    const killed = performance.now()
    await agent.start()
    serving.push(performance.now() - killed)
    await until('the tables are compared', () => agent.metric('rows{', '"web"') === ROWS)
    peak.push(peakMebibytes(agent))
    rewritten.push((await changes()).length)
    attachment.del()
  }
  const ms = { unit: 'ms' as const, go: [] }
  const mib = { unit: 'MiB' as const, go: [], target: MEMORY_TARGET }
  return [
    {
      ...ms,
      what: 'ADD of the first container where 10,000 endpoints are elsewhere',
      ours: add,
      target: 'at most 1000',
    },
    { ...ms, what: "of which in the agent, for the kernel's tables", ours: tables },
    { ...mib, what: "the agent's memory when that ADD has returned", ours: resident },
    { ...mib, what: 'the most that it has had, restarts included', ours: peak },
    { ...ms, what: 'start of an agent with 10,000 endpoints in place', ours: serving },
    { unit: 'rows', go: [], what: 'rows that it rewrites', ours: rewritten, target: '0' },
  ]
}

export const overlayd: Case = {
  name: 'overlayd',
  async run(_, runs) {
    const rounds = Math.max(1, Math.ceil(runs / 3))
    const replies = await withAgents(5, async ({ cluster }) => {
      const [web, joined] = [placesOn(cluster, 'web', false), placesOn(cluster, 'joined', true)]
      return [
        ...replyRows('the network is there', await firstReplies(cluster, web, rounds)),
        ...replyRows("the host's first container of the network", await firstReplies(cluster, joined, rounds)),
        ...entryRows(await entriesElsewhere('web', web, rounds)),
      ]
    })
    return [...replies, ...(await withAgents(1, agents => tenThousand(agents, Math.ceil(runs / 5))))]
  },
}
