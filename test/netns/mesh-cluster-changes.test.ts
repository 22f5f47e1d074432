/** What services on a cluster go through: restarts, draining, hosts that are away, GC. */

import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { until } from '../harness/until.ts'
import { ingressOn, serviceOf, startReplica, tellAgent, whoAnswers, withMesh } from './mesh-cluster-fixture.ts'
import { answers, peer } from './mesh-fixture.ts'

const transports = ['tcp', 'udp'] as const

t.test('an agent that is restarted rewrites nothing, and no connection breaks', t =>
  withMesh(t, 2, async ({ cluster, agent }) => {
    const { outside } = cluster
    const replica = await startReplica(ingressOn(cluster.host(1)), [serviceOf()])
    const two = cluster.host(2)
    await until('it answers', () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080, 1)[0] === replica.name)
    const talk = cluster.underlay.start(peer('talk', 'tcp', two.underlay.ipv4, 8080), { inside: outside })
    await talk.says(/^1 replica/m)
    const balancer = two.named('ingress-load-balancer')
    const tables = () =>
      [two, balancer, two.named('overlay-ingress')].map(place => place.output(['nft', '-j', 'list', 'ruleset']))
    const before = tables()
    await agent(2).stop('SIGKILL')
    talk.signal('SIGUSR1')
    await talk.says(/^2 replica/m)
    await agent(2).start()
    await pause(1500)
    t.same(tables(), before, 'rules, elements and handles are the same')
    talk.signal('SIGUSR1')
    await talk.says(/^3 replica/m)
    t.same(whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080, 2), [replica.name])
  }),
)

t.test('a replica that drains gets no new connections and keeps its own; one that is gone loses its UDP clients', t =>
  withMesh(t, 2, async ({ cluster }) => {
    const { outside } = cluster
    const [one, two] = [cluster.host(1), cluster.host(2)]
    const leaves = await startReplica(ingressOn(one), [serviceOf()])
    await until('it answers', () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080, 1)[0] === leaves.name)
    const talks = transports.map(transport =>
      cluster.underlay.start(peer('talk', transport, two.underlay.ipv4, 8080), { inside: outside }),
    )
    const says = async (index: number, number: number, name: string) => {
      if (number > 1) talks[index]?.signal('SIGUSR1')
      await talks[index]?.says(new RegExp(`^${number} .*\\n`, 'm'))
      t.match(talks[index]?.said, new RegExp(`^${number} ${name} `, 'm'), `${transports[index]}, request ${number}`)
    }
    for (const index of [0, 1]) await says(index, 1, leaves.name)
    const stays = await startReplica(ingressOn(two), [serviceOf()])
    const { containerId, ifname } = leaves.attachment
    t.throws(() => tellAgent(two, 'drain', { network: 'ingress', containerId, ifname, draining: true }), { code: 3 })
    tellAgent(one, 'drain', { network: 'ingress', containerId, ifname, draining: true })
    await until(
      'new connections go elsewhere',
      () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080).join() === stays.name,
    )
    for (const index of [0, 1]) await says(index, 2, leaves.name)
    t.match(
      tellAgent(two, 'services', {}).replicas.map(({ node, draining, alive }) => ({ node, draining, alive })),
      [
        { node: 'node-1', draining: true, alive: true },
        { node: 'node-2', draining: false, alive: true },
      ],
    )
    leaves.attachment.del()
    await until('it is forgotten', () => tellAgent(two, 'services', {}).replicas.length === 1)
    await pause(200)
    await says(1, 3, stays.name)
  }),
)

t.test('a host whose agent is away gets no new connections while others have a replica', t =>
  withMesh(t, 2, async ({ cluster, agent }) => {
    const { outside } = cluster
    const [one, two] = [cluster.host(1), cluster.host(2)]
    const names = [await startReplica(ingressOn(one), [serviceOf()]), await startReplica(ingressOn(two), [serviceOf()])]
      .map(({ name }) => name)
      .sort()
    await until('both answer', () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080).join() === names.join())
    await agent(1).stop('SIGKILL')
    await until('one is left', () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080).length === 1)
    await agent(1).start()
    await until('both answer again', () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080).join() === names.join())
  }),
)

t.test("a runtime's GC leaves what the agent attached, and a host's published addresses are its own", t =>
  withMesh(t, 2, async ({ cluster }) => {
    const { outside } = cluster
    const [one, two] = [cluster.host(1), cluster.host(2)]
    const network = ingressOn(one)
    const ports = [{ published: 8080, target: 80, hostAddresses: [two.underlay.ipv4] }]
    const replica = await startReplica(network, [serviceOf({ ports })])
    await until('it answers', () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080, 1)[0] === replica.name)
    t.same(answers(outside, 'tcp', one.underlay.ipv4, 8080), ['refused'], 'not on the other host')
    t.same(answers(outside, 'tcp', two.underlay.ipv6, 8080), ['refused'], 'nor on another address')
    network.gc([replica.attachment])
    ingressOn(two).gc([])
    t.same(whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080), [replica.name])
  }),
)
