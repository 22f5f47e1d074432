/** What the plugin says to the agent, and what it makes of the answers. */

import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type ClusterHost, differences, snapshot, withCluster } from '../harness/index.ts'
import { overlayOn, ownAddresses } from './overlay-fixture.ts'

const program = join(dirname(fileURLToPath(import.meta.url)), 'fake-agent.js')

/** Starts an agent, and gives the file with what it has been asked. */
async function startAgent(host: ClusterHost, ...refused: string[]): Promise<string> {
  const file = join(dirname(host.directory), 'requests')
  writeFileSync(file, '')
  const child = host.start([process.execPath, program, '/run/cnikit/overlayd.sock', file, ...refused])
  await child.says(/listening/)
  return file
}

/** Requests so far. */
const requests = (agent: string): Record<string, unknown>[] =>
  readFileSync(agent, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))

const etcd = { vni: undefined, controlPlane: { type: 'etcd' } }

t.test('ADD joins before anything is built and publishes at its end, CHECK and GC ask, DEL withdraws', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    const agent = await startAgent(host)
    const services = [{ name: 'api', ports: [{ published: 8080, target: 80 }] }]
    const network = overlayOn(cluster, host, { ...etcd, services })
    const attachment = network.attach({
      args: 'IgnoreUnknown=1;SERVICE=web;PUBLISH=53:5353/udp,8000-8001',
      containerId: 'c1',
    })
    const own = { network: 'web', containerId: 'c1', ifname: 'eth0' }
    const { mac } = attachment.result.interfaces?.[0] ?? {}
    const [ipv4, ipv6] = ownAddresses(attachment)
    const onGateway = (attachment.result.ips ?? []).filter(ip => ip.interface !== 0)
    t.same(requests(agent), [
      { version: 1, verb: 'join', ...own, mtu: 0 },
      {
        version: 1,
        verb: 'publish',
        ...own,
        mac,
        addresses: [`${ipv4}/24`, `${ipv6}/64`],
        services: [
          { name: 'api', affinity: 'none', ports: [{ published: 8080, target: 80, protocol: 'tcp', mode: 'mesh' }] },
          {
            name: 'web',
            affinity: 'none',
            ports: [
              { published: '53', target: '5353', protocol: 'udp', mode: 'mesh' },
              { published: '8000-8001', target: '8000-8001', protocol: 'tcp', mode: 'mesh' },
            ],
          },
        ],
        gatewayAddresses: onGateway.map(({ address }) => address.split('/')[0]),
      },
    ])
    t.equal(onGateway.length, 2, 'where ports of mode local lead')
    const [vxlan] = host.named('overlay-web').show<Record<string, unknown>[]>('link', 'show', 'vxlan0')
    t.match(vxlan, {
      mtu: 1450,
      linkinfo: {
        info_data: { id: 4242, local: '192.0.2.1', port: 4789 },
        info_slave_data: { learning: false, neigh_suppress: true },
      },
    })
    t.notMatch(JSON.stringify(vxlan), /"learning":true/, 'neither device nor bridge learns')
    const ruleset = host.output(['nft', 'list', 'ruleset'])
    t.match(ruleset, /4789 \. 0x1092 comment "web"/, 'nobody is let in before the agent says whom')
    t.notMatch(ruleset, /0x1092 \. 192/)
    t.equal(attachment.check().status, 0)
    t.same(requests(agent).at(-1), { version: 1, verb: 'check', ...own, mac, addresses: [`${ipv4}/24`, `${ipv6}/64`] })
    network.gc([attachment])
    t.same(requests(agent).at(-1), {
      version: 1,
      verb: 'gc',
      network: 'web',
      // With what the agent attaches itself, which no runtime lists.
      validAttachments: [
        { containerId: 'c1', ifname: 'eth0' },
        { containerId: 'ingress-load-balancer', ifname: 'eth0' },
        { containerId: 'ingress-load-balancer', ifname: 'br0' },
      ],
    })
    t.equal(network.status().status, 0)
    attachment.del()
    t.same(requests(agent).at(-1), { version: 1, verb: 'withdraw', ...own })
    t.same(host.namedNamespaces(), [])
  }),
)

t.test('addresses that somebody asked for are published as asked for', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    const agent = await startAgent(host)
    const network = overlayOn(cluster, host, etcd)
    network.attach({ config: { runtimeConfig: { ips: ['10.1.0.40'] } } })
    t.match(requests(agent).at(-1), { verb: 'publish', explicit: true })
    network.attach({ args: 'IP=10.1.0.41' })
    t.match(requests(agent).at(-1), { verb: 'publish', explicit: true })
    network.attach()
    t.notOk('explicit' in (requests(agent).at(-1) ?? {}))
  }),
)

for (const verb of ['join', 'publish']) {
  t.test(`a ${verb} that is refused leaves nothing, here and with the agent`, t =>
    withCluster(t, { hosts: 1 }, async cluster => {
      const host = cluster.host(1)
      const agent = await startAgent(host, verb)
      const network = overlayOn(cluster, host, { ...etcd, internal: true })
      const container = host.createContainer()
      const before = snapshot(host)
      t.match(network.attachment({ container }).tryAdd().error, { code: 104, msg: `${verb} is refused` })
      t.equal(requests(agent).at(-1)?.verb, verb === 'join' ? 'join' : 'withdraw')
      t.same(differences(before, snapshot(host)), [])
      t.same(container.links(), ['lo'])
    }),
  )
}

t.test('an agent that fails a withdrawal fails the DEL, after everything else is gone', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    await startAgent(host, 'withdraw')
    const network = overlayOn(cluster, host, etcd)
    const attachment = network.attach()
    t.match(network.run(attachment.request('DEL')).error, { code: 104, msg: 'withdraw is refused' })
    t.same(attachment.container.links(), ['lo'])
    t.same(host.namedNamespaces(), [])
  }),
)
