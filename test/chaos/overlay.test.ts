/**
 * Two hundred containers come to and go from two overlay networks on five hosts, in random order and several at a time,
 * while agents are killed. Then every table of every kernel has what follows from the containers that are there, and
 * nothing else: computed here from what ADD answered, read with bridge(8), ip(8) and nft(8).
 *
 * CNIKIT_SEED=<number> repeats the order of a run.
 */

import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import {
  type Attachment,
  answerOf,
  type ClusterHost,
  Network,
  pluginDirectory,
  repetitions,
  until,
} from '../harness/index.ts'
import { ownAddresses } from '../netns/overlay-fixture.ts'
import { type Agents, withAgents } from '../netns/overlayd-fixture.ts'

const HOSTS = 5
const CONTAINERS = repetitions(200)
/** Runtimes that work at the same time. */
const LANES = 4

/** mulberry32: the same numbers for the same seed. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) % below
  }
}

/** Both have the same subnets: what one has of an address must not be seen in the other. */
function networksOn(host: ClusterHost): Network[] {
  const ipam = { type: 'cluster', ranges: [[{ subnet: '10.60.0.0/16' }], [{ subnet: 'fd00:60::/64' }]] }
  const config = { type: 'overlay', controlPlane: { type: 'etcd' }, ipam }
  return [new Network(host, { ...config, name: 'web' }), new Network(host, { ...config, name: 'db', internal: true })]
}

const nameOf = ({ network }: Attachment): string => String(network.config.name)
const macOf = ({ result }: Attachment): string => result.interfaces?.[0]?.mac ?? ''

/** ADD, again and again while the agent is away, as runtimes do. */
async function add(attachment: Attachment): Promise<void> {
  for (;;) {
    try {
      await attachment.addBeside()
      return
    } catch (error) {
      if (!/"code": ?11\b/.test(String(error))) throw error
      await pause(200)
    }
  }
}

/** DEL without ADD's result, which has no excuse. */
async function del(attachment: Attachment): Promise<void> {
  const answer = answerOf(await attachment.network.start(attachment.request('DEL')).ended)
  if (answer.status !== 0) throw new Error(`DEL ended with status ${answer.status}: ${answer.stdout}${answer.stderr}`)
}

/** Everything that a host's kernel has of the networks, one line each. */
function present(host: ClusterHost): string[] {
  const lines: string[] = []
  for (const namespace of host.namedNamespaces()) {
    const name = namespace.replace(/^overlay-/, '')
    const overlay = host.named(namespace)
    const fdb = overlay.output(['bridge', '-j', 'fdb', 'show', 'dev', 'vxlan0'])
    for (const { mac, dst, master, flags = [] } of JSON.parse(fdb) as ForwardingEntry[]) {
      if (dst !== undefined) lines.push(`${name} tunnel ${mac} ${dst}`)
      else if (master !== undefined && flags.includes('extern_learn')) lines.push(`${name} bridge ${mac}`)
    }
    const neighbours = overlay.output(['ip', '-j', 'neighbour', 'show', 'dev', 'br0'])
    for (const { dst, lladdr } of JSON.parse(neighbours || '[]') as { dst: string; lladdr: string }[])
      lines.push(`${name} neighbour ${dst} ${lladdr}`)
    // By the alias, "cnikit web container-1 eth0".
    for (const { ifalias } of overlay.show<{ ifalias: string }[]>('link', 'show', 'type', 'veth'))
      lines.push(`${name} port of ${ifalias.split(' ')[2]}`)
  }
  const elements = host.execute(['nft', 'list', 'set', 'inet', 'cnikit-overlay', 'peers-ipv4']).stdout
  for (const [, peer, name] of elements.matchAll(/4789 \. 0x[0-9a-f]+ \. ([0-9.]+) comment "([a-z]+)"/g))
    lines.push(`${name} peer ${peer}`)
  return lines.toSorted()
}

interface ForwardingEntry {
  readonly mac: string
  readonly dst?: string
  readonly master?: string
  readonly flags?: readonly string[]
}

/** What follows for a host from the containers that are there. */
function wanted(host: ClusterHost, living: readonly Attachment[]): string[] {
  const lines = new Set<string>()
  const own = living.filter(({ network }) => network.host === host)
  for (const name of new Set(own.map(nameOf))) {
    for (const attachment of living.filter(one => nameOf(one) === name)) {
      const { host: other } = attachment.network
      if (other === host) lines.add(`${name} port of ${attachment.containerId}`)
      else {
        const [mac, address] = [macOf(attachment), (other as ClusterHost).underlay.ipv4]
        lines.add(`${name} tunnel ${mac} ${address}`)
        lines.add(`${name} bridge ${mac}`)
        for (const one of ownAddresses(attachment)) lines.add(`${name} neighbour ${one} ${mac}`)
        lines.add(`${name} tunnel 00:00:00:00:00:00 ${address}`)
        lines.add(`${name} peer ${address}`)
      }
    }
  }
  return [...lines].toSorted()
}

async function compare(t: Test, { cluster }: Agents, living: readonly Attachment[]): Promise<void> {
  for (const host of cluster.hosts) {
    const same = () => present(host).join('\n') === wanted(host, living).join('\n')
    try {
      await until(`host ${host.number} has what is wanted`, same)
    } catch {
      // The comparison below shows what differs.
    }
    t.same(present(host), wanted(host, living), `host ${host.number}: ${living.length} containers`)
    const { status, stdout } = host.execute([join(pluginDirectory, 'cnictl'), 'overlay', 'networks'])
    t.equal(status, 0, stdout)
  }
}

/** Some containers reach some others, in both families. */
function ping(t: Test, living: readonly Attachment[], random: (below: number) => number): void {
  for (let count = 0; count < 20; count++) {
    const from = living[random(living.length)]
    const peers = living.filter(one => from !== undefined && one !== from && nameOf(one) === nameOf(from))
    const to = peers[random(peers.length || 1)]
    if (from === undefined || to === undefined) continue
    for (const address of ownAddresses(to))
      t.ok(
        from.container.pings(address),
        `${nameOf(from)}: ${from.containerId} reaches ${to.containerId} at ${address}`,
      )
  }
}

t.test('containers come and go on all hosts, and agents are killed meanwhile', { timeout: 240_000 }, t =>
  withAgents(t, { hosts: HOSTS }, async agents => {
    const seed = Number(process.env.CNIKIT_SEED ?? Math.floor(Math.random() * 2 ** 31))
    t.comment(`CNIKIT_SEED=${seed}`)
    const random = randomNumbers(seed)
    const { cluster, agent, etcd } = agents
    const unborn = cluster.hosts.flatMap(host => {
      const networks = networksOn(host)
      const containers = host.createContainers(CONTAINERS / HOSTS)
      return containers.map(container => {
        const network = networks[random(networks.length)]
        if (network === undefined) throw new Error('there are two networks')
        return network.attachment({ container })
      })
    })
    const living: Attachment[] = []
    const take = (from: Attachment[]): Attachment | undefined => from.splice(random(from.length || 1), 1)[0]
    let [added, deleted] = [0, 0]

    /** One runtime. @param births how many of ten are ADDs, while there is a choice */
    const lane = async (births: number, until: () => boolean): Promise<void> => {
      while (!until()) {
        const isBirth = unborn.length > 0 && (living.length === 0 || random(10) < births)
        const attachment = take(isBirth ? unborn : living)
        if (attachment === undefined) {
          if (unborn.length === 0) return
          await pause(10)
          continue
        }
        if (isBirth) {
          await add(attachment)
          added++
          living.push(attachment)
        } else {
          await del(attachment)
          deleted++
        }
      }
    }
    const lanes = (births: number, until: () => boolean) =>
      Promise.all(Array.from({ length: LANES }, () => lane(births, until)))

    const killer = async (): Promise<void> => {
      for (let round = 0; round < 3; round++) {
        await pause(500)
        const victim = agent(1 + random(HOSTS))
        await victim.stop('SIGKILL')
        await pause(random(500))
        await victim.start()
      }
    }
    await Promise.all([lanes(7, () => added + deleted > CONTAINERS * 0.9), killer()])
    t.ok(living.length > 10, `${living.length} of ${added} live`)
    await compare(t, agents, living)
    ping(t, living, random)

    await Promise.all([lanes(5, () => unborn.length === 0 && living.length === 0), killer()])
    t.same([added, deleted], [CONTAINERS, CONTAINERS])
    await compare(t, agents, [])
    const prefixes = ['endpoints/', 'members/', 'networks/', 'vnis/', 'attachments/']
    await until('etcd has nothing of them', () => prefixes.every(prefix => etcd.keys(prefix).length === 0))
    for (const host of cluster.hosts) t.same(host.namedNamespaces(), [], `host ${host.number} has no network`)
  }),
)
