/** Ten thousand endpoints on a hundred other hosts, and an agent that is started anew among them. */

import t from 'tap'
import { until } from '../harness/index.ts'
import { agentNetwork, rowsOn, tableChanges, withAgents } from './overlayd-fixture.ts'
import { manyEndpoints } from './overlayd-many.ts'

const ENDPOINTS = 10_000
const ROWS = 3 * ENDPOINTS
/** What the agent may have at any moment. */
const MEMORY = 150e6

t.test('ten thousand endpoints', t =>
  withAgents(t, { hosts: 1 }, async ({ cluster, etcd, agent }) => {
    const host = cluster.host(1)
    etcd.putAll(manyEndpoints(ENDPOINTS))
    const attachment = agentNetwork(cluster, host).attach()
    t.equal(rowsOn(host).length, ROWS, 'all are there when ADD returns')
    t.equal(attachment.check().status, 0)
    t.ok(agent(1).peakBytes < MEMORY, `memory: ${agent(1).peakBytes} bytes at most`)

    const changes = await tableChanges(host)
    await agent(1).stop('SIGKILL')
    await agent(1).start()
    await until('the network is watched again', () => agent(1).metric('rows{', '"web"') === ROWS)
    t.equal(agent(1).metric('row_changes_total'), 0)
    t.ok(agent(1).peakBytes < MEMORY, `memory: ${agent(1).peakBytes} bytes at most`)
    t.same(await changes(), [], 'the kernel tells of no change')

    const stranger = ['02:00:00:00:00:01', 'dev', 'vxlan0', 'dst', '192.0.2.2', 'self']
    host.named('overlay-web').output(['bridge', 'fdb', 'add', ...stranger])
    etcd.delete('endpoints/web/10.9.')
    await until('all are gone', () => rowsOn(host).length === 1)
    await agent(1).stop()
    await agent(1).start()
    await until('what nobody wants goes with a new agent', () => rowsOn(host).length === 0)
    attachment.del()
  }),
)
