/** The agent with real etcd and the plugin: containers of several hosts in networks that nobody has configured twice. */

import t from 'tap'
import { ownAddresses } from './overlay-fixture.ts'
import { agentNetwork, rowsOn, withAgents } from './overlayd-fixture.ts'

t.test(
  'containers on different hosts reach each other as soon as ADD has returned, and etcd has users and certificates',
  t =>
    withAgents(t, { hosts: 3, secured: true }, async ({ cluster, etcd, agent }) => {
      const attachments = cluster.hosts.map(host => agentNetwork(cluster, host).attach())
      for (const from of attachments)
        for (const to of attachments.filter(one => one !== from))
          for (const address of ownAddresses(to))
            t.ok(from.container.pings(address, 1), `${from.containerId} to ${address}`)
      t.same(etcd.keys('networks/'), ['networks/web'])
      t.equal(etcd.get<{ vni: number }>('networks/web')?.vni, 4096, 'the first number')
      t.equal(etcd.keys('endpoints/web/').length, 6)
      t.equal(etcd.keys('members/web/').length, 3)
      for (const host of cluster.hosts)
        t.equal(rowsOn(host).length, 2 * 2 + 4, 'two rows for each hardware address, one for each address')
      for (const attachment of attachments) t.equal(attachment.check().status, 0, 'CHECK')
      t.match(JSON.parse(agent(1).page('health')), { status: 'ok', problems: [] })
      t.equal(agent(1).metric('rows', '"web"'), 8)
      for (const attachment of attachments) attachment.del()
      t.same(
        etcd.keys('').filter(key => !/^(nodes|alive|block-leases)\//.test(key)),
        [],
        'nothing stays in etcd',
      )
      for (const host of cluster.hosts) t.same(host.namedNamespaces(), [])
    }),
)
