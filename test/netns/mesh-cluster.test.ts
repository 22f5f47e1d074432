/** Services on a cluster: executables, agents and etcd, each host with a network and files of its own. */

import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { until } from '../harness/until.ts'
import { clusterNetwork, ingressOn, serviceOf, startReplica, whoAnswers, withMesh } from './mesh-cluster-fixture.ts'
import { answers, isSilent } from './mesh-fixture.ts'

const transports = ['tcp', 'udp'] as const
const ruleset = (host: { output(argv: string[]): string }): string => host.output(['nft', 'list', 'ruleset'])

t.test('every host answers on a published port, also one without a replica', t =>
  withMesh(t, 3, async ({ cluster }) => {
    const { outside, hosts } = cluster
    const first = await startReplica(ingressOn(cluster.host(1)), [serviceOf()])
    for (const host of hosts)
      await until(
        `host ${host.number} answers`,
        () => whoAnswers(outside, 'tcp', host.underlay.ipv4, 8080, 1)[0] === first.name,
      )
    const second = await startReplica(ingressOn(cluster.host(2)), [serviceOf()])
    const both = [first.name, second.name].sort()
    for (const host of hosts) {
      for (const transport of transports) {
        for (const address of [host.underlay.ipv4, host.underlay.ipv6])
          t.same(whoAnswers(outside, transport, address, 8080), both, `host ${host.number}, ${transport}, ${address}`)
        t.same(whoAnswers(host, transport, '127.0.0.1', 8080), both, `from host ${host.number} itself`)
      }
    }
    for (const host of hosts.slice(0, 2))
      t.same(
        whoAnswers(first.container, 'tcp', host.underlay.ipv4, 8080),
        both,
        `from a container, to host ${host.number}`,
      )
    t.same(answers(outside, 'tcp', cluster.host(3).underlay.ipv4, 80), ['refused'])

    // The last one takes everything off the hosts.
    first.attachment.del()
    await until(
      'the other answers alone',
      () => whoAnswers(outside, 'tcp', cluster.host(3).underlay.ipv4, 8080).join() === second.name,
    )
    second.attachment.del()
    for (const host of hosts) {
      await until(`nothing is published on host ${host.number}`, () => !ruleset(host).includes('cnikit-mesh'))
      await until('the load balancer goes too', () => host.namedNamespaces().length === 0)
    }
  }),
)

t.test('a published port belongs to one service', t =>
  withMesh(t, 2, async ({ cluster }) => {
    await startReplica(ingressOn(cluster.host(1)), [serviceOf()])
    const other = ingressOn(cluster.host(2)).attachment({ config: { services: [serviceOf({ name: 'api' })] } })
    t.match(other.tryAdd().error, {
      code: 104,
      msg: 'service "api" cannot publish port 8080/tcp: service "web" has published it',
    })
    const elsewhere = clusterNetwork(cluster.host(2), 'db', [[{ subnet: '10.7.0.0/16' }]])
    t.match(elsewhere.attachment({ config: { services: [serviceOf({ name: 'db' })] } }).tryAdd().error, {
      code: 7,
      msg: /its network is "db"/,
    })
  }),
)

t.test('mode local: the host with the replica answers, and the client is seen as it is', t =>
  withMesh(t, 2, async ({ cluster }) => {
    const { outside } = cluster
    const [one, two] = [cluster.host(1), cluster.host(2)]
    const network = clusterNetwork(one, 'db', [[{ subnet: '10.7.0.0/16' }]])
    const replica = await startReplica(network, [
      serviceOf({ ports: [{ published: '8000-8002', target: '80-82', mode: 'local' }] }),
    ])
    await until('it answers', () => whoAnswers(outside, 'tcp', one.underlay.ipv4, 8000, 1)[0] === replica.name)
    t.same(answers(outside, 'tcp', one.underlay.ipv4, 8002), [`${replica.name} ${outside.underlay.ipv4}`])
    t.same(answers(outside, 'tcp', two.underlay.ipv4, 8000), ['refused'])
    // Containers on the same host get there by way of the load balancer, which only comes with something in the mesh.
    const other = await startReplica(ingressOn(one), [serviceOf()])
    await until('the mesh answers', () => whoAnswers(outside, 'tcp', two.underlay.ipv4, 8080, 1)[0] === other.name)
    for (const { container } of [replica, other])
      t.same(whoAnswers(container, 'tcp', one.underlay.ipv4, 8001), [replica.name], 'from a container beside it')
  }),
)

t.test('isolation: a container of the ingress network reaches no other, on any host', t =>
  withMesh(t, 2, async ({ cluster }) => {
    const one = await startReplica(ingressOn(cluster.host(1)), [serviceOf()])
    const beside = await startReplica(ingressOn(cluster.host(1)), [serviceOf()])
    const far = await startReplica(ingressOn(cluster.host(2)), [serviceOf()])
    for (const { attachment } of [beside, far]) {
      for (const { address, interface: index } of attachment.result.ips ?? []) {
        if (index !== 0) continue
        const [plain = ''] = address.split('/')
        t.ok(isSilent(one.container, 'tcp', plain, 80), `the target port at ${plain}`)
        t.ok(isSilent(one.container, 'udp', plain, 81), 'another')
        t.notOk(one.container.pings(plain, 1))
      }
    }
  }),
)

t.test('a virtual address leads to the replicas from containers on every host', t =>
  withMesh(t, 3, async ({ cluster }) => {
    const ranges = [[{ subnet: '10.7.0.0/16', rangeStart: '10.7.1.0' }], [{ subnet: 'fd00:7::/64' }]]
    const on = (number: number) => clusterNetwork(cluster.host(number), 'db', ranges)
    const service = serviceOf({ name: 'store', virtualAddress: '10.7.0.100', ports: [] })
    const replicas = [await startReplica(on(1), [service]), await startReplica(on(2), [service])]
    const client = on(3).attach()
    const names = replicas.map(({ name }) => name).sort()
    for (const container of [client.container, ...replicas.map(({ container }) => container)]) {
      await until('both answer', () => whoAnswers(container, 'tcp', '10.7.0.100', 80).join() === names.join())
      t.same(whoAnswers(container, 'udp', '10.7.0.100', 81), names)
    }
    const [one, two] = replicas
    one?.attachment.del()
    await until(
      'the other answers alone',
      () => whoAnswers(client.container, 'tcp', '10.7.0.100', 80).join() === two?.name,
    )
    two?.attachment.del()
    client.del()
    for (const host of cluster.hosts) {
      await until(`nothing is left on host ${host.number}`, () => !host.namedNamespaces().includes('overlay-db'))
    }
  }),
)

t.test('a virtual address: a container is answered by its own host, and by no other', t =>
  withMesh(t, 2, async ({ cluster }) => {
    const ranges = [
      [{ subnet: '10.7.0.0/16', rangeStart: '10.7.1.0' }],
      [{ subnet: 'fd00:7::/64', rangeStart: 'fd00:7::1:0' }],
    ]
    const on = (number: number) => clusterNetwork(cluster.host(number), 'db', ranges)
    const addresses = ['10.7.0.100', 'fd00:7::100']
    const services = addresses.map((virtualAddress, index) =>
      serviceOf({ name: `store${index}`, virtualAddress, ports: [] }),
    )
    const { name } = await startReplica(on(1), services)
    const { container } = on(2).attach()
    for (const address of addresses)
      await until('it answers', () => whoAnswers(container, 'tcp', address, 80).join() === name)
    // As before the agent had heard of the services.
    const overlay = cluster.host(2).named('overlay-db')
    for (const address of addresses) overlay.ip(`addr del ${address}/${address.includes(':') ? 128 : 32} dev br0`)
    container.ip('neigh flush all')
    for (const address of addresses) {
      t.notOk(container.pings(address, 1), `${address} is asked for`)
      const known = container.show<{ dst: string; lladdr?: string }[]>('neigh', 'show', 'dev', 'eth0')
      t.same(
        known.filter(({ dst, lladdr }) => dst === address && lladdr !== undefined),
        [],
        'and no other host answers',
      )
    }
  }),
)

t.test('affinity: a client has the same replica through every host', t =>
  withMesh(t, 3, async ({ cluster }) => {
    const { outside, hosts } = cluster
    const ports = [{ published: 8080, target: 80 }]
    for (const number of [1, 2])
      await startReplica(ingressOn(cluster.host(number)), [serviceOf({ affinity: 'client', ports })])
    for (const host of hosts)
      await until('it answers', () => whoAnswers(outside, 'tcp', host.underlay.ipv4, 8080, 1)[0] !== 'refused')
    await pause(500)
    const chosen = hosts.map(host => whoAnswers(outside, 'tcp', host.underlay.ipv4, 8080).join())
    t.equal(new Set(chosen).size, 1, chosen.join(' '))
    t.match(chosen[0], /^replica\d+$/)
  }),
)
