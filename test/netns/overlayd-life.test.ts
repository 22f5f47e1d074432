/** Containers that move, hosts that die and come back, agents that are away, and what CHECK and GC say of it. */

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { type Attachment, type Cluster, type ClusterHost, until } from '../harness/index.ts'
import { ownAddresses } from './overlay-fixture.ts'
import { agentNetwork, rowsOn, withAgents } from './overlayd-fixture.ts'

/** A container with an address and a hardware address that the runtime has chosen. */
function named(cluster: Cluster, host: ClusterHost, containerId: string, address: string, mac?: string): Attachment {
  const ipam = { type: 'static', addresses: [{ address }] }
  const network = agentNetwork(cluster, host, { ipam, capabilities: { mac: true } })
  return network.attachment({ containerId, config: mac === undefined ? {} : { runtimeConfig: { mac } } })
}

const MAC = '02:00:00:00:00:99'

t.test('a container that moves keeps its address, and no host keeps the old way to it', t =>
  withAgents(t, { hosts: 3 }, async ({ cluster, etcd }) => {
    const watcher = agentNetwork(cluster, cluster.host(3)).attach()
    const neighbours = [1, 2].map(number => agentNetwork(cluster, cluster.host(number)).attach())
    const address = '10.1.0.200'
    let [from, to] = [cluster.host(1), cluster.host(2)]
    let container = named(cluster, from, 'moving-0', `${address}/24`, MAC)
    container.add()
    for (let move = 1; move <= 4; move++) {
      // Traffic both ways, so that every table has learned all it ever will.
      t.ok(watcher.container.pings(address, 1), `move ${move}: reached before`)
      for (const neighbour of neighbours) t.ok(neighbour.container.pings(address, 1))
      container.del()
      container = named(cluster, to, `moving-${move}`, `${address}/24`, MAC)
      container.add()
      t.ok(watcher.container.pings(address, 1), 'reached at once from the third host')
      for (const neighbour of neighbours) t.ok(neighbour.container.pings(address, 1), 'and from both the others')
      const remote = [from, cluster.host(3)].map(host => rowsOn(host).filter(row => row.includes(MAC)))
      for (const rows of remote) t.match(rows.join('\n'), `dst ${to.underlay.ipv4} `, 'by the way of its new host')
      t.same(
        rowsOn(to).filter(row => row.includes(MAC)),
        [],
        'and by none from the host that it is on',
      )
      ;[from, to] = [to, from]
    }
    t.match(etcd.get(`endpoints/web/${address}`), { node: 'node-1', containerId: 'moving-4' })
    for (const attachment of [container, watcher, ...neighbours]) attachment.del()
  }),
)

t.test("an address is one container's until it is released, or until its host is dead and it is asked for by name", t =>
  withAgents(t, { settings: { deadAfter: 8 } }, async ({ cluster, etcd, agent }) => {
    const [first, second] = [cluster.host(1), cluster.host(2)]
    const owner = named(cluster, first, 'owner', '10.1.0.200/24')
    owner.add()
    const other = agentNetwork(cluster, second).attach()
    const thief = named(cluster, second, 'thief', '10.1.0.200/24')
    const refused = thief.tryAdd()
    t.equal(refused.error?.code, 103)
    t.match(refused.error?.msg, /10\.1\.0\.200 belongs to container "owner" on node "node-1"/)
    t.match(etcd.keys('attachments/node-2/'), [/container/], 'nothing of the refused one stays')
    await agent(1).stop('SIGKILL')
    t.equal(thief.tryAdd().error?.code, 103, 'not at once')
    await until('its lease has run out', () => etcd.keys('nodes/').length === 1)
    thief.add()
    t.match(etcd.get('endpoints/web/10.1.0.200'), { node: 'node-2', containerId: 'thief' })
    await agent(1).start()
    await pause(500)
    t.match(etcd.get('endpoints/web/10.1.0.200'), { node: 'node-2' }, 'back, the first does not take it again')
    await agent(1).says(/cannot be made known/)
    const { error } = owner.check()
    t.equal(error?.code, 105)
    t.match(error?.msg, /10\.1\.0\.200 was taken over by container "thief" on node "node-2"/)
    owner.del()
    t.match(etcd.get('endpoints/web/10.1.0.200'), { node: 'node-2' }, 'and its DEL leaves it')
    t.equal(thief.check().status, 0)
    thief.del()
    other.del()
  }),
)

t.test('what a dead host has left is removed after the stated time, and comes back with it', t =>
  withAgents(t, { hosts: 3, settings: { deadAfter: 8, reconcileSeconds: 5 } }, async ({ cluster, etcd, agent }) => {
    const attachments = cluster.hosts.map(host => agentNetwork(cluster, host).attach())
    const [, , lost] = attachments
    if (lost === undefined) throw new Error('three hosts are wanted')
    const network = 'endpoints/web/'
    t.equal(etcd.keys(network).length, 6)
    cluster.host(3).disconnect()
    await until('its lease has run out', () => etcd.keys('nodes/').length === 2)
    t.equal(etcd.keys(network).length, 6, 'nothing is removed yet')
    t.equal(rowsOn(cluster.host(1)).length, 8)
    await until('its endpoints are removed', () => etcd.keys(network).length === 4, 60)
    // By the first of those that live.
    await agent(1).says(/"message":"a node is dead.*"dead":"node-3"/)
    await until('its rows are gone', () => rowsOn(cluster.host(1)).length === 4)
    cluster.host(3).reconnect()
    await until('back, its endpoints are known again', () => etcd.keys(network).length === 6, 60)
    await until('to the hosts too', () => rowsOn(cluster.host(1)).length === 8)
    for (const address of ownAddresses(lost)) t.ok((attachments[0]?.container ?? lost.container).pings(address, 1))
    for (const attachment of attachments) t.equal(attachment.check().status, 0)
    for (const attachment of attachments) attachment.del()
  }),
)

t.test('without an agent ADD is to be tried again, STATUS says so, and DEL leaves its release in the spool', t =>
  withAgents(t, {}, async ({ cluster, etcd, agent }) => {
    const host = cluster.host(1)
    const network = agentNetwork(cluster, host)
    const [first, second] = [network.attach(), network.attach()]
    const far = agentNetwork(cluster, cluster.host(2)).attach()
    await agent(1).stop('SIGKILL')
    const refused = network.attachment().tryAdd()
    t.equal(refused.error?.code, 11)
    t.match(refused.error?.msg, /overlayd does not answer at "\/run\/cnikit\/overlayd\.sock"/)
    t.equal(network.status().error?.code, 50)
    first.del()
    first.del({ withoutResult: true })
    second.del()
    const spool = join(host.stateDirectory, 'cnikit/overlayd/spool')
    t.equal(readdirSync(spool).length, 2, 'one release for each, however often DEL is repeated')
    t.equal(etcd.keys('attachments/node-1/').length, 2)
    // The same container again, in the meantime: its release must not hit the new one.
    writeFileSync(join(spool, 'nonsense.json'), '{')
    await agent(1).start()
    t.equal(etcd.keys('attachments/node-1/').length, 0)
    t.same(readdirSync(spool), [])
    t.same(etcd.keys('members/web/'), ['members/web/node-2'])
    await until('the other host has forgotten them', () => rowsOn(cluster.host(2)).length === 0)
    second.add()
    t.equal(second.check().status, 0)
    for (const attachment of [second, far]) attachment.del()
  }),
)

t.test('DEL while etcd is away: the agent takes the release', t =>
  withAgents(t, { hosts: 1 }, async ({ cluster, etcd }) => {
    const attachment = agentNetwork(cluster, cluster.host(1)).attach()
    await etcd.stop()
    const started = Date.now()
    attachment.del()
    t.ok(Date.now() - started < 15_000)
    t.same(cluster.host(1).namedNamespaces(), [])
    await etcd.start()
    await until('it was made', () => etcd.keys('endpoints/').length === 0 && etcd.keys('networks/').length === 0)
  }),
)

t.test('CHECK tells what is wrong and the agent corrects it', t =>
  withAgents(t, { settings: { reconcileSeconds: 5 } }, async ({ cluster, etcd, agent }) => {
    const [one, other] = cluster.hosts.map(host => agentNetwork(cluster, host).attach())
    if (one === undefined || other === undefined) throw new Error('two hosts are wanted')
    const overlay = cluster.host(1).named('overlay-web')
    const before = rowsOn(cluster.host(1))
    const [address = ''] = ownAddresses(other)
    const mac = other.result.interfaces?.[0]?.mac ?? ''
    const damages: [what: string, damage: () => void, says: RegExp][] = [
      [
        'a tunnel entry is deleted',
        () => overlay.output(['bridge', 'fdb', 'del', mac, 'dev', 'vxlan0', 'self']),
        /missing or different: tunnel/,
      ],
      [
        'a tunnel entry leads elsewhere',
        () =>
          overlay.output(['bridge', 'fdb', 'replace', mac, 'dev', 'vxlan0', 'dst', '192.0.2.77', 'self', 'permanent']),
        /missing or different: tunnel/,
      ],
      [
        'a neighbour is deleted',
        () => overlay.ip(`neighbour del ${address} dev br0`),
        /missing or different: neighbour/,
      ],
      [
        'an entry of nobody is added',
        () => overlay.output('bridge fdb add 02:00:00:00:00:01 dev vxlan0 dst 192.0.2.2 self permanent'.split(' ')),
        /too much: tunnel 02:00:00:00:00:01/,
      ],
      [
        'a host is flooded no more',
        () =>
          overlay.output(
            `bridge fdb del 00:00:00:00:00:00 dev vxlan0 dst ${cluster.host(2).underlay.ipv4} self`.split(' '),
          ),
        /not flooded: 192\.0\.2\.2/,
      ],
    ]
    for (const [what, damage, says] of damages) {
      damage()
      const { error } = one.check()
      t.equal(error?.code, 105, what)
      t.match(error?.msg, says)
      await until(`corrected: ${what}`, () => one.check().status === 0)
      t.same(rowsOn(cluster.host(1)), before)
    }
    t.ok(agent(1).metric('drift_rows_total') >= 4, 'the drift was counted')
    etcd.delete('endpoints/web/')
    await until('what was deleted in etcd is known again', () => etcd.keys('endpoints/web/').length === 4)
    await until('on the hosts too', () => rowsOn(cluster.host(1)).length === before.length)
    for (const attachment of [one, other]) attachment.del()
  }),
)

t.test('GC, repeated ADDs, and networks with their numbers', t =>
  withAgents(t, {}, async ({ cluster, etcd }) => {
    const [first, second] = [cluster.host(1), cluster.host(2)]
    const web = agentNetwork(cluster, first)
    const [kept, lost] = [web.attach(), web.attach()]
    const again = web.attachment({ containerId: kept.containerId }).tryAdd()
    t.equal(again.error?.code, 104, 'the same attachment again, with another namespace')
    t.equal(kept.check().status, 0, 'harms the first in nothing')
    web.gc([kept])
    t.match(etcd.keys('attachments/'), [`attachments/node-1/web/${kept.containerId}/eth0`])
    t.equal(lost.check().error?.code, 105)
    const database = agentNetwork(cluster, first, { name: 'db' }).attach()
    t.equal(etcd.get<{ vni: number }>('networks/db')?.vni, 4097, 'the next number')
    const fixed = agentNetwork(cluster, second, { name: 'fixed', vni: 4096 }).attachment().tryAdd()
    t.equal(fixed.error?.code, 104)
    t.match(fixed.error?.msg, /VNI 4096 is the one of network "web"/)
    const differing = agentNetwork(cluster, second, { vni: 5000 }).attachment().tryAdd()
    t.equal(differing.error?.code, 7)
    t.match(differing.error?.msg, /network "web" has "vni" 4096 in this cluster, not 5000/)
    t.same(
      etcd.keys('members/').toSorted(),
      ['members/db/node-1', 'members/web/node-1'],
      'refused hosts are no members',
    )
    t.notOk(kept.container.pings(ownAddresses(database)[0] ?? '', 1), 'two networks do not reach each other')
    for (const attachment of [kept, lost, database]) attachment.del()
    t.same(etcd.keys('vnis/'), [], 'the numbers are free again')
    const changed = agentNetwork(cluster, second, { vni: 5000 }).attach()
    t.equal(etcd.get<{ vni: number }>('networks/web')?.vni, 5000)
    changed.del()
  }),
)
