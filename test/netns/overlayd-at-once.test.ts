/** Many containers that publish ports at the same moment, on several hosts: one after the other, and none in vain. */

import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { AnswerLine, PublishRequest } from '../../lib/overlay/agent-protocol.ts'
import type { ClusterHost } from '../harness/index.ts'
import { withAgents } from './overlayd-fixture.ts'

const EACH = 20

/** What a plugin asks the agent, without waiting for other answers. */
function ask(host: ClusterHost, verb: 'join' | 'publish', request: object): Promise<AnswerLine> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(host.runDirectory, 'cnikit/overlayd.sock'))
    let text = ''
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    socket.on('error', reject)
    socket.on('end', () => resolve(JSON.parse(text) as AnswerLine))
    socket.write(`${JSON.stringify({ version: 1, verb, ...request })}\n`)
  })
}

/** A container of a host; the services share a guard in etcd, which each publication changes. */
function container(host: ClusterHost, number: number): PublishRequest {
  const port = 8200 + host.number * EACH + number
  return {
    network: 'ingress',
    containerId: `container-${host.number}-${number}`,
    ifname: 'eth0',
    mac: `02:00:00:00:0${host.number}:${number + 10}`,
    addresses: [`10.255.${200 + host.number}.${number}/16`],
    services: [
      {
        name: `service-${host.number}-${number}`,
        affinity: 'none',
        ports: [{ published: port, target: 80, protocol: 'tcp', mode: 'mesh' }],
      },
    ],
  }
}

t.test('ports that are published on all hosts at the same moment are all published', t =>
  withAgents(t, { hosts: 4 }, async ({ cluster, etcd }) => {
    const wanted = cluster.hosts.flatMap(host =>
      Array.from({ length: EACH }, (_, number) => ({ host, request: container(host, number) })),
    )
    const answers = await Promise.all(
      wanted.map(async ({ host, request }) => {
        const { network, containerId, ifname } = request
        await ask(host, 'join', { network, containerId, ifname })
        return ask(host, 'publish', request)
      }),
    )
    const refused = answers.filter(answer => 'error' in answer)
    t.same(refused, [])
    t.equal(etcd.keys('services/ingress/').length, wanted.length)
  }),
)
