/** The configurations of docs/overlay.md and docs/services.md, as they stand there, on two hosts. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type ClusterHost, Network, repositoryRoot, until } from '../harness/index.ts'
import { whoAnswers } from './mesh-cluster-fixture.ts'
import { startServer } from './mesh-fixture.ts'
import { ownAddresses } from './overlay-fixture.ts'
import { withAgents } from './overlayd-fixture.ts'

/** The configurations of a page. */
const examplesOf = (page: string): string[] =>
  [...readFileSync(join(repositoryRoot, 'docs', page), 'utf8').matchAll(/^```json\n(.*?)^```$/gms)]
    .map(([, text = '']) => text)
    .filter(text => text.includes('"cniVersion"') && text.includes('"controlPlane"'))

/** What differs from host to host, as the page says, or from the page's host to those of the test. */
function onHost(text: string, host: ClusterHost): object {
  const ranges = text.replaceAll(/("range(?:Start|End)": "10\.\d+)\.1\./g, `$1.${host.number}.`)
  return JSON.parse(ranges.replace('"interface": "eth0"', '"interface": "uplink"')) as object
}

t.test('each control plane has an example that works', t =>
  withAgents(t, { hosts: 2 }, async ({ cluster }) => {
    const examples = examplesOf('overlay.md')
    const types = examples.map(text => /"controlPlane": \{ "type": "(\w+)"/.exec(text)?.[1])
    t.same(types, ['static', 'multicast', 'etcd'])
    for (const [index, text] of examples.entries()) {
      const [one, other] = cluster.hosts.map(host => new Network(host, onHost(text, host)).attach())
      if (one === undefined || other === undefined) throw new RangeError('two hosts are wanted')
      const addresses = ownAddresses(other)
      t.ok(addresses.length > 0)
      for (const address of addresses) t.ok(one.container.pings(address, 5), `${types[index]}: ${address} answers`)
      for (const attachment of [one, other]) attachment.del()
    }
  }),
)

t.test('a service as its page has it is answered by the host that has no replica', t =>
  withAgents(t, { hosts: 2 }, async ({ cluster }) => {
    const [text = ''] = examplesOf('services.md')
    const [one, other] = [cluster.host(1), cluster.host(2)]
    const attachment = new Network(one, JSON.parse(text) as object).attach()
    await startServer(one, attachment.container, 'replica')
    const address = other.underlay.ipv4
    await until('the other host answers', () => whoAnswers(cluster.outside, 'tcp', address, 8080).join() === 'replica')
    attachment.del()
  }),
)
