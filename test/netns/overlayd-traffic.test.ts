/** Traffic between containers while agents and etcd come and go. */

import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type Child, type Host, type NetworkNamespace, until } from '../harness/index.ts'
import { ownAddresses } from './overlay-fixture.ts'
import { type Agents, agentNetwork, rowsOn, withAgents } from './overlayd-fixture.ts'

/** A ping every 10 ms, until it is asked for its result: packets that were sent and got no reply. */
class Stream {
  readonly #from: NetworkNamespace
  readonly #counter: string
  readonly #before: number
  readonly #child: Child

  constructor(host: Host, from: NetworkNamespace, to: string) {
    this.#from = from
    this.#counter = to.includes(':') ? 'Icmp6OutEchos' : 'IcmpOutEchos'
    this.#before = this.#echoRequests()
    this.#child = host.start(['ping', '-n', '-q', '-i', '0.01', to], { inside: from })
  }

  /** How many packets were sent so far, as the container's kernel counts them. */
  get sent(): number {
    return this.#echoRequests() - this.#before
  }

  #echoRequests(): number {
    const counters = this.#from.output(['nstat', '-asz', this.#counter])
    return Number(/^\S+ +(\d+)/m.exec(counters.replace(/^#.*\n/, ''))?.[1])
  }

  async end(): Promise<{ sent: number; lost: number }> {
    const { stdout } = await this.#child.stop('SIGINT')
    const [, sent = '0', received = '0'] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? []
    // The last may be on its way when ping is ended.
    return { sent: Number(sent), lost: Math.max(0, Number(sent) - Number(received) - 1) }
  }
}

/** Two containers on two hosts, and pings of both families between them while something is done. */
async function underTraffic(t: Test, { cluster }: Agents, work: () => Promise<void>): Promise<void> {
  const [one, other] = cluster.hosts.slice(0, 2).map(host => agentNetwork(cluster, host).attach())
  if (one === undefined || other === undefined) throw new Error('two hosts are wanted')
  const addresses = ownAddresses(other)
  for (const address of addresses) t.ok(one.container.pings(address, 1), `${address} answers`)
  const streams = addresses.map(address => new Stream(cluster.host(1), one.container, address))
  await pause(300)
  await work()
  await pause(300)
  // On a machine that is busy ping sends fewer in a second than it was asked to.
  await until('enough packets are sent', () => streams.every(({ sent }) => sent > 60))
  for (const [index, stream] of streams.entries()) {
    const { sent, lost } = await stream.end()
    t.ok(sent > 50, `${sent} packets to ${addresses[index]}`)
    t.equal(lost, 0, 'none is lost')
  }
  one.del()
  other.del()
}

t.test('an agent that is killed and started again loses no packet and rewrites nothing', t =>
  withAgents(t, {}, agents =>
    underTraffic(t, agents, async () => {
      const host = agents.cluster.host(1)
      const before = rowsOn(host)
      t.equal(before.length, 4)
      for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
        await agents.agent(1).stop(signal)
        t.same(rowsOn(host), before, `the tables stay after ${signal}`)
        await agents.agent(1).start()
        await until('the network is watched again', () => agents.agent(1).metric('rows{', '"web"') === 4)
        t.equal(agents.agent(1).metric('row_changes_total'), 0, 'the new agent writes nothing')
        t.same(rowsOn(host), before)
      }
    }),
  ),
)

t.test('agents that are away for longer than their leases live', t =>
  withAgents(t, {}, agents =>
    underTraffic(t, agents, async () => {
      await agents.agent(2).stop('SIGKILL')
      await until('the lease has run out', () => agents.etcd.keys('members/web/').length === 1)
      await pause(300)
      t.equal(rowsOn(agents.cluster.host(1)).length, 4, 'its containers are known as before')
      await agents.agent(2).start()
      t.equal(agents.etcd.keys('members/web/').length, 2)
    }),
  ),
)

t.test('etcd is stopped for longer than the leases live', t =>
  withAgents(t, {}, agents =>
    underTraffic(t, agents, async () => {
      const { etcd, cluster, agent } = agents
      await etcd.stop()
      await pause(6_000)
      const network = agentNetwork(cluster, cluster.host(1))
      t.equal(network.status().error?.code, 50, 'STATUS')
      const late = network.attachment()
      const { containerId, container: netns } = late
      const refused = network.run({ command: 'ADD', containerId, netns, config: network.config })
      t.equal(refused.error?.code, 11, 'ADD is to be tried again')
      t.match(refused.error?.msg, /etcd at http:/)
      await agent(1).stop('SIGKILL')
      await agent(1).start({ wait: false })
      await agent(1).says(/"message":"waiting"/)
      t.equal(network.status().error?.code, 50)
      t.equal(rowsOn(cluster.host(1)).length, 4, 'an agent that is started without etcd touches nothing')
      await etcd.start()
      await agent(1).says(/"message":"serving"/)
      await until('ADD is served again', () => network.status().status === 0)
      late.add()
      await until('the other host knows of it', () => rowsOn(cluster.host(2)).length === 8)
      late.del()
    }),
  ),
)

t.test('the leader of three members is killed', t =>
  withAgents(t, { members: 3, secured: true }, agents =>
    underTraffic(t, agents, async () => {
      const { etcd, cluster } = agents
      for (let round = 0; round < 2; round++) {
        const leader = etcd.leader() ?? 0
        await etcd.stopMember(leader)
        const attachment = agentNetwork(cluster, cluster.host(1)).attach()
        t.pass('ADD waits for the election and succeeds')
        await until('the other host knows of it', () => rowsOn(cluster.host(2)).length === 8)
        attachment.del()
        await until('and of its end', () => rowsOn(cluster.host(2)).length === 4)
        await etcd.startMember(leader)
        await until('three members again', () => etcd.leader() !== undefined)
      }
    }),
  ),
)

t.test('history that is compacted while a host is cut off', t =>
  withAgents(t, {}, async ({ etcd, cluster, agent }) => {
    const network = (number: number) => agentNetwork(cluster, cluster.host(number))
    const [staying, leaving] = [network(1).attach(), network(1).attach()]
    const far = network(2).attach()
    const before = rowsOn(cluster.host(2))
    cluster.host(2).disconnect()
    await agent(2).says(/"message":"watch ended".*"endpoints\/web\/"/)
    leaving.del()
    const coming = network(1).attach()
    etcd.compact()
    t.same(rowsOn(cluster.host(2)), before, 'cut off, it keeps what it has')
    cluster.host(2).reconnect()
    // The kernel asks for the hosts' own MAC addresses once a second only, and has just asked in vain.
    await until(
      'the underlay passes packets both ways',
      () =>
        cluster.host(1).pings(cluster.host(2).underlay.ipv4, 1) &&
        cluster.host(2).pings(cluster.host(1).underlay.ipv4, 1),
    )
    const isKnown = (address: string) => rowsOn(cluster.host(2)).some(row => row.startsWith(`${address} `))
    await until(
      'the tables are those of now',
      () => [staying, coming].flatMap(ownAddresses).every(isKnown) && !ownAddresses(leaving).some(isKnown),
    )
    await agent(2).says(/"endpoints\/web\/".*"compacted":true/)
    for (const address of [staying, coming].flatMap(ownAddresses)) t.ok(far.container.pings(address, 1), address)
    for (const attachment of [staying, coming, far]) {
      t.equal(attachment.check().status, 0)
      attachment.del()
    }
  }),
)
