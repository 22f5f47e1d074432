/** Whose ports they are: conflicts, owners that are gone, repeated ADDs, several networks, and connections that went on. */

import t from 'tap'
import { deleteNamespaces, differences, snapshot, withHost } from '../harness/index.ts'
import { peer } from './mesh-fixture.ts'
import { askPort, delBlindly, hostAddresses, type Mapping, PublishingHost, portRange } from './portmap-fixture.ts'

const port = (hostPort: number, keys: Partial<Mapping> = {}): Mapping => ({ hostPort, containerPort: 80, ...keys })
const { uplink } = hostAddresses

/** What the first container has, what the second asks for, and what it is told about; undefined: it gets it. */
const contests: Readonly<Record<string, readonly [Mapping[], Mapping[], string | undefined]>> = {
  'the same port': [[port(8080)], [port(8080)], 'TCP port 8080 '],
  'one of many ports': [[port(8080)], [port(8079), port(8080)], 'TCP port 8080 '],
  'another transport': [[port(8080)], [port(8080, { protocol: 'udp' })], undefined],
  'an address of all of them': [[port(8080)], [port(8080, { hostIP: uplink.ipv4 })], 'TCP port 8080 '],
  'all addresses of one': [[port(8080, { hostIP: uplink.ipv6 })], [port(8080)], `TCP port 8080 of ${uplink.ipv6} `],
  'another address': [[port(8080, { hostIP: uplink.ipv4 })], [port(8080, { hostIP: '127.0.0.1' })], undefined],
  'the other family': [[port(8080, { hostIP: '0.0.0.0' })], [port(8080, { hostIP: '::' })], undefined],
  'all of IPv4 and one of IPv6': [[port(80, { hostIP: '0.0.0.0' })], [port(80, { hostIP: uplink.ipv6 })], undefined],
  'a port in a range': [portRange(9000, 100), [port(9050)], 'TCP ports 9000-9099 '],
  'a range around a port': [[port(9050)], portRange(9000, 100), 'TCP port 9050 '],
  'ranges that overlap': [portRange(9000, 100), portRange(9099, 100), 'TCP ports 9000-9099 '],
  'ranges side by side': [portRange(9000, 100), portRange(9100, 100), undefined],
  'an address’s port in a range of all': [portRange(90, 20), [port(95, { hostIP: uplink.ipv4 })], 'TCP ports 90-109 '],
  'a range around an address’s port': [[port(95, { hostIP: uplink.ipv4 })], portRange(90, 20), `TCP port 95 of `],
  'a range around an address’s range': [
    portRange(90, 20, { hostIP: uplink.ipv6 }),
    portRange(80, 20),
    `TCP ports 90-109 of ${uplink.ipv6} `,
  ],
}

for (const [what, [first, second, taken]] of Object.entries(contests)) {
  t.test(
    `${what}: ${taken === undefined ? 'both are served' : 'the first keeps it, and the second is told whose it is'}`,
    t =>
      withHost(t, host => {
        const hosts = new PublishingHost(host)
        const one = hosts.publish(first, { containerId: 'first' })
        const two = hosts.prepare(second, { containerId: 'second' })
        const before = snapshot(host)
        const { status, error } = two.ports.tryAdd()
        if (taken === undefined) {
          t.equal(status, 0)
          two.ports.del()
        } else {
          t.equal(error?.code, 104)
          t.ok(error?.msg.startsWith(taken), error?.msg ?? '')
          t.match(error?.msg, /is taken by container first, interface "eth0" in network "podnet"$/)
          t.match(error?.details, /publish another port/)
        }
        t.same(differences(before, snapshot(host)), [])
        t.equal(one.ports.check().stdout, '')
      }),
  )
}

t.test('ports of a container that is gone are taken over, and its UDP connections with them', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    const mappings = [
      port(8080),
      port(8080, { protocol: 'udp' }),
      ...portRange(9000, 10),
      port(53, { hostIP: uplink.ipv4 }),
    ]
    const one = hosts.publish(mappings, { containerId: 'first' })
    const server = await hosts.serve(one.bridge.container, 'one', 80)
    const talk = host.start(peer('talk', 'udp', uplink.ipv4, 8080), { inside: hosts.outside })
    await talk.says(/^1 one/m)
    await server.stop('SIGKILL')
    deleteNamespaces([one.bridge.container.name])
    const two = hosts.prepare(mappings, { containerId: 'second' })
    // As the first process of process and mount namespaces of its own it may look at all there is to find.
    const through = ['/usr/bin/unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
    hosts.ports.mustRun({ ...two.ports.request('ADD'), through })
    await hosts.serve(two.bridge.container, 'two', 80)
    talk.signal('SIGUSR1')
    await talk.says(/^2 two/m)
    t.notMatch(hosts.nft(), /: 10\.88\.0\.2/, 'nothing leads to the first')
  }),
)

t.test('a UDP client that never pauses reaches the container that takes the place of another', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    const mappings = [port(8080, { protocol: 'udp' }), port(8080)]
    const talks = ['ipv4', 'ipv6'].map(version =>
      host.start(peer('talk', 'udp', uplink[version === 'ipv4' ? 'ipv4' : 'ipv6'], 8080), { inside: hosts.outside }),
    )
    for (const talk of talks) await talk.says(/^1 refused/m)
    const say = async (number: number, name: string) => {
      for (const talk of talks) {
        talk.signal('SIGUSR1')
        await talk.says(new RegExp(`^${number} ${name}`, 'm'))
      }
    }
    const one = hosts.publish(mappings)
    await hosts.serve(one.bridge.container, 'one', 80)
    await say(2, 'one')
    one.ports.del()
    const two = hosts.publish(mappings)
    await hosts.serve(two.bridge.container, 'two', 80)
    await say(3, 'two')
    delBlindly(two.ports)
    const three = hosts.publish(mappings)
    await hosts.serve(three.bridge.container, 'three', 80)
    await say(4, 'three')
    t.pass('every time with the next packet, from the same port')
  }),
)

t.test('a repeated ADD changes nothing, and one with other ports or another address puts them in their place', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const { bridge, ports } = hosts.publish([port(8080), ...portRange(9000, 10)])
    const rules = hosts.nft()
    t.equal(ports.tryAdd().status, 0)
    t.equal(hosts.nft(), rules)
    hosts.publishing(bridge, [{ hostPort: 8080, containerPort: 8080 }, port(9005)]).add()
    t.match(hosts.nft(), /tcp \. 8080 comment "[^"]+" : 10\.88\.0\.2 \. 8080/)
    t.match(hosts.nft(), /tcp \. 9005 comment "[^"]+" : 10\.88\.0\.2 \. 80/)
    t.notMatch(hosts.nft(), /9000-9009/)
    delBlindly(ports)
    t.notMatch(hosts.nft(), /elements/)
  }),
)

t.test('two networks of a container, and two containers, do not touch each other', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    const one = hosts.publish([port(8080)], { containerId: 'one' })
    const two = hosts.publish([port(8090)], { containerId: 'two' })
    const other = hosts.ports.with({ name: 'other-net' })
    const second = hosts.network
      .with({ name: 'other-net' })
      .attach({ ...one.bridge.options, container: one.bridge.container, containerId: 'one', ifname: 'eth1' })
    const more = hosts.publishing(second, [port(8081), port(8080)], other)
    const before = snapshot(host)
    more.add()
    t.match(hosts.nft(), /tcp \. 8080 comment "podnet one eth0 /, 'what both publish is the first one’s')
    t.equal(more.check().stdout, '')
    more.del()
    t.same(
      differences(before, snapshot(host)).filter(line => !/other-net|waiting/.test(line)),
      [],
    )
    more.add()
    one.ports.del()
    await hosts.serve(one.bridge.container, 'one', 80)
    t.match(askPort(hosts.outside, 'tcp', uplink.ipv4, 8081), /^one/)
    t.match(askPort(hosts.outside, 'tcp', uplink.ipv4, 8080), /^one/, 'the second takes over what both publish')
    t.equal(two.ports.check().stdout, '')
    t.equal(more.check().stdout, '')
  }),
)

t.test('DEL finds everything without a result, mappings or a namespace, and nothing where nothing is', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const other = hosts.publish([port(1), port(2, { hostIP: uplink.ipv6, protocol: 'sctp' })])
    const before = snapshot(host)
    const { ports, bridge } = hosts.publish([
      port(8080),
      port(8080, { protocol: 'udp' }),
      port(443, { hostIP: uplink.ipv4 }),
      ...portRange(9000, 10),
      ...portRange(9000, 10, { protocol: 'sctp', hostIP: uplink.ipv6 }),
    ])
    bridge.del()
    delBlindly(ports)
    t.same(differences(before, snapshot(host)), [])
    delBlindly(ports)
    other.bridge.del()
    other.ports.del()
    host.output(['nft', 'delete', 'table', 'inet', 'cnikit-portmap'])
    delBlindly(ports)
    t.notMatch(hosts.nft(), /portmap/)
  }),
)

t.test('DEL removes what the Go plugin has made with nftables, and nothing of others', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const { bridge, ports } = hosts.prepare([port(8080)], { containerId: 'one' })
    const rules = (containerId: string, address: string) => `
add rule ip cni_hostport hostports tcp dport 8080 dnat to ${address}:80 comment "${containerId}"
add rule ip cni_hostport hostip_hostports ip daddr 198.51.100.1 udp dport 53 dnat to ${address}:53 comment "${containerId}"
add rule ip cni_hostport masquerading ip saddr ${address} ip daddr ${address} masquerade comment "${containerId}"
add rule ip cni_hostport masquerading ip saddr 127.0.0.1 ip daddr ${address} masquerade comment "${containerId}"`
    const others = rules('one', '10.99.0.2') + rules('two', bridge.address)
    const chains = `
add table ip cni_hostport
add chain ip cni_hostport hostports
add chain ip cni_hostport hostip_hostports
add chain ip cni_hostport masquerading { type nat hook postrouting priority srcnat; }`
    host.output(['nft', '-f', '-'], { input: chains + others })
    const before = hosts.nft()
    host.output(['nft', '-f', '-'], { input: rules('one', bridge.address) })
    t.not(hosts.nft(), before)
    hosts.ports.mustRun(ports.request('DEL', { prevResult: bridge.result }))
    t.equal(hosts.nft(), before, 'other networks of the container keep theirs')
    delBlindly(ports)
    t.notMatch(hosts.nft(), /comment "one"/, 'without a result all of the container’s go')
    t.equal(hosts.nft().match(/comment "two"/g)?.length, 4)
  }),
)

t.test('with preserveClientIP a neighbour that the host routes keeps its address', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, { preserveClientIP: true })
    // Both have the host alone for neighbour, as with ptp.
    const [one, two] = [5, 6].map(number => {
      const container = host.createContainer()
      host.ip(`
link add routed${number} type veth peer name eth0 netns ${container.name}
addr add 10.200.0.1/32 dev routed${number}
link set routed${number} up
route add 10.1.0.${number}/32 dev routed${number}`)
      container.ip(`
link set lo up
addr add 10.1.0.${number}/32 dev eth0
link set eth0 up
route add 10.200.0.1/32 dev eth0
route add default via 10.200.0.1`)
      return { number, container }
    })
    if (one === undefined || two === undefined) throw new Error('no containers')
    const prevResult = {
      cniVersion: '1.1.0',
      interfaces: [{ name: 'routed5' }, { name: 'eth0', sandbox: one.container.path }],
      ips: [{ address: '10.1.0.5/24', interface: 1 }],
    }
    const config = { prevResult, runtimeConfig: { portMappings: [port(8080)] } }
    const attachment = hosts.ports.attachment({ containerId: 'routed', container: one.container, config })
    attachment.add()
    await hosts.serve(one.container, 'one', 80)
    t.equal(askPort(two.container, 'tcp', uplink.ipv4, 8080), 'one 10.1.0.6')
    t.equal(askPort(one.container, 'tcp', uplink.ipv4, 8080), 'one 10.200.0.1', 'itself it could not answer otherwise')
    t.equal(askPort(host, 'tcp', '127.0.0.1', 8080), 'one 10.200.0.1')
    attachment.del()
    hosts.ports.with({ preserveClientIP: false }).adopt(attachment).add()
    t.equal(askPort(two.container, 'tcp', uplink.ipv4, 8080), 'one 10.200.0.1', 'without it, it does not')
    const bridged = hosts.publish([port(8090)])
    const neighbour = hosts.network.attach()
    await hosts.serve(bridged.bridge.container, 'bridged', 80)
    t.equal(askPort(neighbour.container, 'tcp', uplink.ipv4, 8090), 'bridged 10.88.0.1', 'on a bridge it could not be')
  }),
)
