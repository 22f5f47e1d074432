/** Published ports with packets: from everywhere, over everything, and what the container sees of its clients. */

import t from 'tap'
import { outsideAddresses, withHost } from '../harness/index.ts'
import { askPort, hostAddresses, type Mapping, PublishingHost, portRange } from './portmap-fixture.ts'

const web: Mapping[] = [
  { hostPort: 8080, containerPort: 80, protocol: 'TCP' },
  { hostPort: 8080, containerPort: 80, protocol: 'udp' },
]
const { outside } = outsideAddresses
const { uplink, bridge, localhost } = hostAddresses

for (const [transport, bridged] of [
  ['tcp', false],
  ['udp', false],
  ['tcp', true],
  ['udp', true],
] as const) {
  const rules = bridged ? 'with IP rules for bridged packets' : 'without IP rules for bridged packets'
  t.test(`a published ${transport} port answers from everywhere, and as little as can be is masqueraded, ${rules}`, t =>
    withHost(t, async host => {
      const hosts = new PublishingHost(host, {}, { bridged })
      const one = hosts.publish(web)
      const neighbour = hosts.network.attach()
      await hosts.serve(one.bridge.container, 'one', 80)
      const from = (place: Parameters<typeof askPort>[0], address: string) => askPort(place, transport, address, 8080)
      for (const version of ['ipv4', 'ipv6'] as const) {
        const own = one.bridge.addresses[version === 'ipv4' ? 0 : 1] ?? ''
        t.equal(
          from(hosts.outside, uplink[version]),
          `one ${outside[version]}`,
          `${version}: outside keeps its address`,
        )
        t.equal(from(host, uplink[version]), `one ${uplink[version]}`, `${version}: the host by its address`)
        t.equal(from(host, bridge[version]), `one ${bridge[version]}`, `${version}: the host by the gateway's address`)
        const gateway = `one ${bridge[version]}`
        t.equal(
          from(one.bridge.container, bridge[version]),
          gateway,
          `${version}: the container itself, by its gateway`,
        )
        t.equal(from(one.bridge.container, uplink[version]), gateway, `${version}: the container itself, by the uplink`)
        t.equal(from(neighbour.container, uplink[version]), gateway, `${version}: a neighbour by the uplink`)
        t.equal(from(neighbour.container, bridge[version]), gateway, `${version}: a neighbour by the gateway`)
        t.equal(
          askPort(neighbour.container, transport, own, 80),
          `one ${neighbour.addresses[version === 'ipv4' ? 0 : 1]}`,
        )
      }
      t.equal(from(host, localhost.ipv4), `one ${bridge.ipv4}`, 'localhost')
      t.equal(from(host, localhost.ipv6), 'refused', 'Linux leads ::1 nowhere: it is refused, not lost')
      one.ports.del()
      t.equal(from(hosts.outside, uplink.ipv4), 'refused', 'after DEL nobody listens')
      t.equal(from(hosts.outside, uplink.ipv6), 'refused')
    }),
  )
}

t.test('what is sent through the host to others is left alone', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    hosts.publish([{ hostPort: 8080, containerPort: 80 }])
    const other = hosts.network.attach()
    host.output(['ip', 'route', 'replace', 'default', 'via', outside.ipv4])
    hosts.outside.output(['ip', 'route', 'add', '10.88.0.0/24', 'via', uplink.ipv4])
    await hosts.serve(hosts.outside, 'world', 8080)
    t.equal(askPort(other.container, 'tcp', outside.ipv4, 8080), `world ${other.address}`)
  }),
)

t.test('containers do not reach what listens on the host’s 127.0.0.1, although localhost is routed to them', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    const one = hosts.publish(web)
    t.equal(host.output(['sysctl', '-n', 'net.ipv4.conf.br0.route_localnet']).trim(), '1')
    await hosts.serve(host, 'secret', 6379)
    one.bridge.container.output(['sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1'])
    one.bridge.container.ip('link set lo down')
    one.bridge.container.ip(`route add 127.0.0.0/8 via ${bridge.ipv4} dev eth0 src ${one.bridge.address}`)
    t.equal(askPort(one.bridge.container, 'tcp', '127.0.0.1', 6379), 'silence')
    host.output(['nft', 'flush', 'chain', 'inet', 'cnikit-portmap', 'loopback-guard'])
    t.match(askPort(one.bridge.container, 'tcp', '127.0.0.1', 6379), /^secret/, 'which the guard prevents')
  }),
)

t.test('ranges of ports lead where single ones would, the same and others', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    const one = hosts.publish([
      ...portRange(9000, 1000),
      ...portRange(7000, 9, { containerPort: 9500 }),
      ...portRange(9000, 20, { protocol: 'udp', hostIP: uplink.ipv4 }),
    ])
    await hosts.serve(one.bridge.container, 'one', 9000, 9019, 9508, 9999)
    for (const port of [9000, 9999, 7008]) {
      t.equal(askPort(hosts.outside, 'tcp', uplink.ipv4, port), `one ${outside.ipv4}`, `${port}`)
      t.equal(askPort(hosts.outside, 'tcp', uplink.ipv6, port), `one ${outside.ipv6}`, `${port}`)
    }
    t.equal(askPort(hosts.outside, 'udp', uplink.ipv4, 9019), `one ${outside.ipv4}`)
    t.equal(askPort(hosts.outside, 'udp', uplink.ipv6, 9019), 'refused', 'another address')
    t.equal(askPort(hosts.outside, 'tcp', uplink.ipv4, 8999), 'refused', 'below')
    t.equal(askPort(hosts.outside, 'tcp', uplink.ipv4, 10000), 'refused', 'above')
    t.match(hosts.nft(), /elements = \{ tcp \. 9000-9999 comment "podnet [^"]+" : 10\.88\.0\.2 \}/, 'one element')
    one.ports.del()
    t.notMatch(hosts.nft(), /elements/)
  }),
)

t.test('a port of one address of the host leads elsewhere than that of another', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    host.ip('addr add 198.51.100.9/24 dev uplink\naddr add 2001:db8:51::9/64 dev uplink nodad')
    const one = hosts.publish([
      { hostPort: 8080, containerPort: 80, hostIP: uplink.ipv4 },
      { hostPort: 8080, containerPort: 80, hostIP: uplink.ipv6 },
    ])
    const two = hosts.publish([
      { hostPort: 8080, containerPort: 80, hostIP: '198.51.100.9' },
      { hostPort: 8080, containerPort: 80, hostIP: '2001:db8:51::9' },
      { hostPort: 8080, containerPort: 80, hostIP: '127.0.0.1' },
    ])
    await hosts.serve(one.bridge.container, 'one', 80)
    await hosts.serve(two.bridge.container, 'two', 80)
    const names = (address: string) => askPort(hosts.outside, 'tcp', address, 8080).split(' ')[0]
    t.equal(names(uplink.ipv4), 'one')
    t.equal(names(uplink.ipv6), 'one')
    t.equal(names('198.51.100.9'), 'two')
    t.equal(names('2001:db8:51::9'), 'two')
    t.match(askPort(host, 'tcp', '127.0.0.1', 8080), /^two/)
    t.equal(askPort(host, 'tcp', bridge.ipv4, 8080), 'refused')
    two.ports.del()
    t.equal(names('198.51.100.9'), 'refused')
    t.equal(names(uplink.ipv4), 'one', 'the other stays')
  }),
)

t.test('"0.0.0.0" and "::" are all addresses of one family', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    const one = hosts.publish([
      { hostPort: 8080, containerPort: 80, hostIP: '0.0.0.0' },
      { hostPort: 8081, containerPort: 80, hostIP: '::' },
    ])
    await hosts.serve(one.bridge.container, 'one', 80)
    t.match(askPort(hosts.outside, 'tcp', uplink.ipv4, 8080), /^one/)
    t.equal(askPort(hosts.outside, 'tcp', uplink.ipv6, 8080), 'refused')
    t.equal(askPort(hosts.outside, 'tcp', uplink.ipv4, 8081), 'refused')
    t.match(askPort(hosts.outside, 'tcp', uplink.ipv6, 8081), /^one/)
  }),
)

t.test('masqAll: the container sees the host alone; without snat nothing is masqueraded', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, { masqAll: true })
    const one = hosts.publish([{ hostPort: 8080, containerPort: 80 }])
    const two = hosts.prepare([{ hostPort: 8090, containerPort: 80 }])
    hosts.publishing(two.bridge, [{ hostPort: 8090, containerPort: 80 }], hosts.ports.with({ snat: false })).add()
    await hosts.serve(one.bridge.container, 'one', 80)
    await hosts.serve(two.bridge.container, 'two', 80)
    for (const version of ['ipv4', 'ipv6'] as const) {
      t.equal(askPort(hosts.outside, 'tcp', uplink[version], 8080), `one ${bridge[version]}`)
      t.equal(askPort(hosts.outside, 'tcp', uplink[version], 8090), `two ${outside[version]}`)
      t.equal(askPort(one.bridge.container, 'tcp', uplink[version], 8080), `one ${bridge[version]}`)
      t.equal(
        askPort(one.bridge.container, 'tcp', uplink[version], 8090),
        'silence',
        'two answers its neighbour directly',
      )
    }
  }),
)
