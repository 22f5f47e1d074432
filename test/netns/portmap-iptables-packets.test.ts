/** Published ports with packets, the plugin told to use iptables: from everywhere, and what the container sees of its clients. */

import t from 'tap'
import { outsideAddresses, withHost } from '../harness/index.ts'
import { peer } from './mesh-fixture.ts'
import { askPort, delBlindly, hostAddresses, type Mapping, PublishingHost } from './portmap-fixture.ts'
import { ofContainers, saved } from './portmap-iptables-fixture.ts'

const iptables = { backend: 'iptables' }
const web: Mapping[] = ['tcp', 'udp'].map(protocol => ({ hostPort: 8080, containerPort: 80, protocol }))
const { outside } = outsideAddresses
const { uplink, bridge, localhost } = hostAddresses

for (const transport of ['tcp', 'udp'] as const) {
  t.test(`a published ${transport} port answers from everywhere, and as little as can be is masqueraded`, t =>
    withHost(t, async host => {
      const hosts = new PublishingHost(host, iptables)
      const one = hosts.publish(web)
      const neighbour = hosts.network.attach()
      await hosts.serve(one.bridge.container, 'one', 80)
      const from = (place: Parameters<typeof askPort>[0], address: string) => askPort(place, transport, address, 8080)
      for (const version of ['ipv4', 'ipv6'] as const) {
        const gateway = `one ${bridge[version]}`
        t.equal(
          from(hosts.outside, uplink[version]),
          `one ${outside[version]}`,
          `${version}: outside keeps its address`,
        )
        t.equal(from(host, uplink[version]), `one ${uplink[version]}`, `${version}: the host by its address`)
        t.equal(from(host, bridge[version]), gateway, `${version}: the host by the gateway's address`)
        t.equal(
          from(one.bridge.container, bridge[version]),
          gateway,
          `${version}: the container itself, by its gateway`,
        )
        t.equal(from(one.bridge.container, uplink[version]), gateway, `${version}: the container itself, by the uplink`)
        t.equal(from(neighbour.container, uplink[version]), gateway, `${version}: a neighbour by the uplink`)
      }
      t.equal(from(host, localhost.ipv4), `one ${bridge.ipv4}`, 'localhost')
      t.equal(from(host, localhost.ipv6), 'refused', 'Linux leads ::1 nowhere: it is refused, not lost')
      t.equal(one.ports.check().status, 0, 'CHECK')
      delBlindly(one.ports)
      t.same(ofContainers(saved(host)), [])
      t.equal(from(hosts.outside, uplink.ipv4), 'refused', 'after DEL nobody listens')
      t.equal(from(hosts.outside, uplink.ipv6), 'refused')
    }),
  )
}

t.test('containers do not reach what listens on the host’s 127.0.0.1, although localhost is routed to them', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, iptables)
    const { container, address } = hosts.publish(web).bridge
    await hosts.serve(host, 'secret', 6379)
    container.output(['sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1'])
    container.ip(`link set lo down\nroute add 127.0.0.0/8 via ${bridge.ipv4} dev eth0 src ${address}`)
    t.equal(askPort(container, 'tcp', '127.0.0.1', 6379), 'silence')
    host.output(['iptables', '-t', 'raw', '-F'])
    t.match(askPort(container, 'tcp', '127.0.0.1', 6379), /^secret/, 'which the guard prevents')
  }),
)

t.test('a UDP client that never pauses does not reach the container any more after DEL, and the next one at once', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, iptables)
    const talks = [uplink.ipv4, uplink.ipv6].map(address =>
      host.start(peer('talk', 'udp', address, 8080), { inside: hosts.outside }),
    )
    for (const talk of talks) await talk.says(/^1 refused/m)
    const say = async (number: number, name: string) => {
      for (const talk of talks) {
        talk.signal('SIGUSR1')
        await talk.says(new RegExp(`^${number} ${name}`, 'm'))
      }
    }
    const one = hosts.publish(web)
    await hosts.serve(one.bridge.container, 'one', 80)
    await say(2, 'one')
    delBlindly(one.ports)
    await say(3, 'refused')
    const two = hosts.publish(web)
    await hosts.serve(two.bridge.container, 'two', 80)
    await say(4, 'two')
    hosts.ports.gc([])
    await say(5, 'refused')
    t.pass('always from the same port')
  }),
)

t.test('the newest container answers where an older one has left its rules', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, iptables)
    const old = hosts.publish([{ hostPort: 8080, containerPort: 80, hostIP: '0.0.0.0' }])
    await hosts.serve(old.bridge.container, 'old', 80)
    t.match(askPort(hosts.outside, 'tcp', uplink.ipv4, 8080), /^old /)
    // As the Go plugin writes them, who tells nobody whose they are.
    const stripped = host
      .output(['iptables-save', '-t', 'nat'])
      .split('\n')
      .filter(line => !/^-A CNI-DN-\S+ -m comment --comment "podnet [^"]*"$/.test(line))
    host.output(['iptables-restore'], { input: stripped.join('\n') })
    const young = hosts.publish([{ hostPort: 8080, containerPort: 80, hostIP: '0.0.0.0' }])
    await hosts.serve(young.bridge.container, 'young', 80)
    t.match(askPort(hosts.outside, 'tcp', uplink.ipv4, 8080), /^young /)
    young.ports.del()
    t.match(askPort(hosts.outside, 'tcp', uplink.ipv4, 8080), /^old /, 'whose rules are there nevertheless')
  }),
)

t.test('a port of one address of the host leads elsewhere than that of another; conditions hold', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, { ...iptables, conditionsV4: ['!', '-s', outside.ipv4] })
    host.ip('addr add 198.51.100.9/24 dev uplink')
    const one = hosts.publish([{ hostPort: 8080, containerPort: 80, hostIP: uplink.ipv4 }])
    const two = hosts.publish([{ hostPort: 8080, containerPort: 80, hostIP: '198.51.100.9' }])
    await hosts.serve(one.bridge.container, 'one', 80)
    await hosts.serve(two.bridge.container, 'two', 80)
    t.match(askPort(host, 'tcp', uplink.ipv4, 8080), /^one /)
    t.match(askPort(host, 'tcp', '198.51.100.9', 8080), /^two /)
    t.equal(askPort(hosts.outside, 'tcp', uplink.ipv4, 8080), 'refused', 'whom the conditions leave out')
    const third = hosts.prepare([{ hostPort: 8080, containerPort: 80 }])
    const refused = third.ports.tryAdd()
    t.equal(refused.error?.code, 104)
    t.match(refused.error?.msg, /is taken by container "container-\d+" \(interface "eth0", network "podnet"\)/)
  }),
)

t.test('masqAll: the container sees the host alone; without snat nothing is masqueraded', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, { ...iptables, masqAll: true, markMasqBit: 5 })
    const one = hosts.publish([{ hostPort: 8080, containerPort: 80 }])
    const two = hosts.prepare([{ hostPort: 8090, containerPort: 80 }])
    hosts.publishing(two.bridge, [{ hostPort: 8090, containerPort: 80 }], hosts.ports.with({ snat: false })).add()
    await hosts.serve(one.bridge.container, 'one', 80)
    await hosts.serve(two.bridge.container, 'two', 80)
    for (const version of ['ipv4', 'ipv6'] as const) {
      t.equal(askPort(hosts.outside, 'tcp', uplink[version], 8080), `one ${bridge[version]}`)
      t.equal(askPort(hosts.outside, 'tcp', uplink[version], 8090), `two ${outside[version]}`)
    }
  }),
)
