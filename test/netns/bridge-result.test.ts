/** ADD's result in every version of the specification. */

import t from 'tap'
import { type CniVersion, cniVersions } from '../../lib/cni/types.ts'
import { type Attachment, hostLocal, Network, subnets, withHost } from '../harness/index.ts'

/** The interfaces as the kernel has them, in the order that users rely on. */
function liveInterfaces({ network, container, port }: Attachment) {
  return [
    { name: 'br0', mac: network.host.macOf('br0') },
    { name: port, mac: network.host.macOf(port) },
    { name: 'eth0', mac: container.macOf('eth0'), sandbox: container.path },
  ]
}

const routes = [{ dst: '192.0.2.0/24', mtu: 1400 }]
const defaults = [
  { dst: '0.0.0.0/0', gw: '10.88.0.1' },
  { dst: '::/0', gw: 'fd00:88::1' },
]
const ipv4 = { interface: 2, address: '10.88.0.2/24', gateway: '10.88.0.1' }
const ipv6 = { interface: 2, address: 'fd00:88::2/64', gateway: 'fd00:88::1' }

/** The whole document, by version. */
function expected(version: CniVersion, attachment: Attachment): object {
  switch (version) {
    case '0.1.0':
    case '0.2.0':
      return {
        cniVersion: version,
        ip4: { ip: ipv4.address, gateway: ipv4.gateway, routes: [{ dst: '192.0.2.0/24' }, defaults[0]] },
        ip6: { ip: ipv6.address, gateway: ipv6.gateway, routes: [defaults[1]] },
        dns: {},
      }
    case '0.3.0':
    case '0.3.1':
    case '0.4.0':
      return {
        cniVersion: version,
        interfaces: liveInterfaces(attachment),
        ips: [
          { version: '4', ...ipv4 },
          { version: '6', ...ipv6 },
        ],
        routes: [...routes, ...defaults],
        dns: {},
      }
    case '1.0.0':
    case '1.1.0':
      return {
        cniVersion: version,
        interfaces: liveInterfaces(attachment).map(one => ({ ...one, ...(version === '1.1.0' ? { mtu: 1500 } : {}) })),
        ips: [ipv4, ipv6],
        routes: version === '1.0.0' ? [{ dst: '192.0.2.0/24' }, ...defaults] : [...routes, ...defaults],
      }
  }
}

for (const cniVersion of cniVersions)
  t.test(`ADD's result has the form of ${cniVersion} and says what is there`, t =>
    withHost(t, host => {
      const ipam = { ...hostLocal(host, subnets.ipv4, subnets.ipv6), routes }
      const attachment = new Network(host, { cniVersion, ipMasq: true, ipam }).attachment()
      const answer = attachment.add()
      t.equal(answer.stderr, '')
      const document = answer.json as { interfaces?: { name: string }[] }
      t.strictSame(document, expected(cniVersion, attachment))
      if (document.interfaces !== undefined) t.match(document.interfaces[1]?.name, /^veth/)
    }),
  )

t.test('a configuration without cniVersion is one of 0.1.0', t =>
  withHost(t, host => {
    const { cniVersion: _, ...config } = new Network(host).config
    const attachment = new Network(host).attachment()
    const { json } = attachment.network.mustRun({ ...attachment.request('ADD'), config })
    t.match(json, { cniVersion: '0.1.0', ip4: { ip: '10.88.0.2/24' } })
  }),
)

t.test('ADD makes no other links than those of the result', t =>
  withHost(t, host => {
    const before = host.links()
    const { container, port } = new Network(host, { ipMasq: true, macspoofchk: true }).attach()
    t.same(
      host.links().filter(name => !before.includes(name)),
      ['br0', port],
    )
    t.same(container.links(), ['lo', 'eth0'])
  }),
)

t.test('the name of the port is the same for the same attachment, and differs by network, container and interface', t =>
  withHost(t, host => {
    const network = new Network(host)
    const first = network.attach({ containerId: 'one' })
    const { port } = first
    first.del()
    t.equal(network.attach({ containerId: 'one' }).port, port)
    const others = [
      network.attach({ containerId: 'two' }),
      network.attach({ containerId: 'one', ifname: 'eth1' }),
      network.with({ name: 'othernet' }).attach({ containerId: 'one' }),
    ]
    t.equal(new Set([port, ...others.map(other => other.port)]).size, 4)
  }),
)
