/** Addresses, routes and name servers that the bridge plugin gives, and the bridge's own addresses. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  assertSameSnapshot,
  gateways,
  hostLocal,
  Network,
  type NetworkNamespace,
  snapshot,
  subnets,
  withHost,
} from '../harness/index.ts'

/** Routes through a link as "ip -d" prints them, kernel-made ones left out. */
function routes(inside: NetworkNamespace, family: '-4' | '-6' = '-4'): string[] {
  const text = inside.output(['ip', family, '-o', 'route', 'show', 'table', 'all', 'dev', 'eth0'])
  const lines = text.split('\n').map(line =>
    line
      .replaceAll('\\', '')
      .replace(/\s+/g, ' ')
      .replace(/ pref medium| onlink/g, '')
      .trim(),
  )
  return lines
    .filter(line => line !== '' && !/^(broadcast|local|multicast|anycast|fe80|ff00)|proto kernel/.test(line))
    .toSorted()
}

t.test('isDefaultGateway gives a default route for each family, and a bridge with both gateways', t =>
  withHost(t, host => {
    const { container, result } = new Network(host, { ipam: hostLocal(host, subnets.ipv4, subnets.ipv6) }).attach()
    t.same(container.addresses('eth0'), ['10.88.0.2/24', 'fd00:88::2/64'])
    t.same(host.addresses('br0'), ['10.88.0.1/24', 'fd00:88::1/64'])
    t.same(routes(container), [`default via ${gateways.ipv4}`])
    t.same(routes(container, '-6'), [`default via ${gateways.ipv6} metric 1024`])
    t.same(result.routes, [
      { dst: '0.0.0.0/0', gw: gateways.ipv4 },
      { dst: '::/0', gw: gateways.ipv6 },
    ])
  }),
)

t.test('isGateway gives the bridge an address and the container no default route', t =>
  withHost(t, host => {
    const { container, result } = new Network(host, { isDefaultGateway: false, isGateway: true }).attach()
    t.same(host.addresses('br0'), ['10.88.0.1/24'])
    t.same(routes(container), [])
    t.same(result.routes ?? [], [])
    t.equal(result.ips?.[0]?.gateway, gateways.ipv4)
    t.ok(container.pings(gateways.ipv4))
  }),
)

t.test('without a gateway the bridge has no address and the host does not forward', t =>
  withHost(t, host => {
    const before = snapshot(host)
    const network = new Network(host, { isDefaultGateway: false })
    const one = network.attach()
    t.ok(one.container.pings(network.attach().address))
    t.same(host.addresses('br0'), [])
    const forwarding = (state: typeof before) =>
      state.sysctls.filter(line => /\/(ip_forward|all\/forwarding)/.test(line))
    t.same(forwarding(snapshot(host)), forwarding(before))
  }),
)

t.test('a gateway named by the address plugin is the one that is used', t =>
  withHost(t, host => {
    const ipam = { ...hostLocal(host), ranges: [[{ subnet: subnets.ipv4, gateway: '10.88.0.254' }]] }
    const { container, result } = new Network(host, { ipam }).attach()
    t.same(host.addresses('br0'), ['10.88.0.254/24'])
    t.same(routes(container), ['default via 10.88.0.254'])
    t.equal(result.ips?.[0]?.gateway, '10.88.0.254')
  }),
)

t.test("the address plugin's default route with a gateway of its own is not doubled", t =>
  withHost(t, host => {
    const ipam = { ...hostLocal(host), routes: [{ dst: '0.0.0.0/0', gw: '10.88.0.7' }] }
    const { container } = new Network(host, { ipam }).attach()
    t.same(routes(container), ['default via 10.88.0.7'])
  }),
)

t.test('mtu, advmss, priority, table and scope of a route are in the container, and in the result', t =>
  withHost(t, host => {
    const wanted = [
      { dst: '192.0.2.0/24', gw: gateways.ipv4, mtu: 1400, advmss: 1300, priority: 50 },
      { dst: '203.0.113.0/24', table: 77 },
      { dst: '198.18.0.0/15', scope: 253 },
      { dst: '2001:db8:7::/48', mtu: 1390, priority: 99, table: 78 },
    ]
    const ipam = { ...hostLocal(host, subnets.ipv4, subnets.ipv6), routes: wanted }
    const attachment = new Network(host, { isDefaultGateway: false, isGateway: true, ipam }).attach()
    t.same(routes(attachment.container), [
      '192.0.2.0/24 via 10.88.0.1 metric 50 mtu 1400 advmss 1300',
      '198.18.0.0/15 scope link',
      '203.0.113.0/24 via 10.88.0.1 table 77',
    ])
    t.same(routes(attachment.container, '-6'), ['2001:db8:7::/48 via fd00:88::1 table 78 metric 99 mtu 1390'])
    t.same(attachment.result.routes, wanted)
    t.equal(attachment.check().stdout, '', 'CHECK finds them all')
  }),
)

t.test('a bridge with another address is refused, and forceAddress replaces it', t =>
  withHost(t, host => {
    host.ip(`link add br0 address 52:54:00:00:00:02 type bridge
addr add 10.99.0.1/24 dev br0
addr add fd00:99::1/64 dev br0 nodad
addr add fd00:88::77/64 dev br0 nodad
link set br0 up`)
    const network = new Network(host, { ipam: hostLocal(host, subnets.ipv4, subnets.ipv6) })
    const before = snapshot(host)
    const { error } = network.attachment().tryAdd()
    t.equal(error?.code, 104)
    t.match(error?.msg, /"br0" already has an IP address different from 10\.88\.0\.1\/24/)
    t.match(error?.details, /forceAddress/)
    assertSameSnapshot(t, before, snapshot(host), 'the host is as it was')
    const { container } = network.with({ forceAddress: true }).attach()
    t.same(
      host.addresses('br0').toSorted(),
      ['10.88.0.1/24', 'fd00:88::1/64', 'fd00:99::1/64'],
      'IPv4 has one address; an IPv6 one of another subnet is not in the way',
    )
    t.ok(container.pings(gateways.ipv4))
    t.ok(container.pings(gateways.ipv6))
  }),
)

t.test('a bridge that has the gateway among its addresses is taken as it is', t =>
  withHost(t, host => {
    host.ip('link add br0 type bridge\naddr add 10.88.0.1/24 dev br0\nlink set br0 up')
    const { container } = new Network(host).attach()
    t.same(host.addresses('br0'), ['10.88.0.1/24'])
    t.ok(container.pings(gateways.ipv4))
  }),
)

t.test('a bridge that was down comes up', t =>
  withHost(t, host => {
    host.ip('link add br0 type bridge')
    const { container } = new Network(host).attach()
    t.ok(container.pings(gateways.ipv4))
  }),
)

t.test('enabledad finds an address that another container has, and undoes the ADD', t =>
  withHost(t, host => {
    const network = new Network(host, { enabledad: true, ipam: hostLocal(host, subnets.ipv6) })
    const squatter = new Network(host, { name: 'squatters', isDefaultGateway: false, ipam: {} }).attach()
    squatter.container.ip('addr add fd00:88::2/64 dev eth0 nodad')
    const [first, second] = [network.attachment(), network.attachment()]
    const before = snapshot(host)
    const { error } = first.tryAdd()
    t.equal(error?.code, 104)
    t.match(error?.msg, /fd00:88::2/)
    t.same(first.container.links(), ['lo'])
    assertSameSnapshot(t, before, snapshot(host), 'the host is as it was', ['sysctls'])
    second.add()
    t.equal(second.address, 'fd00:88::3')
    const [link] = second.container.show<{ addr_info: { tentative?: boolean }[] }[]>('addr', 'show', 'dev', 'eth0')
    t.notOk(
      link?.addr_info.some(address => address.tentative),
      'no address is tentative when ADD is over',
    )
    const dad = (namespace: NetworkNamespace) =>
      namespace.output(['sysctl', '-n', 'net.ipv6.conf.eth0.accept_dad']).trim()
    t.equal(dad(second.container), '1')
    t.equal(dad(network.with({ enabledad: false }).attach().container), '0')
  }),
)

t.test('an address survives its link being down and up again', t =>
  withHost(t, host => {
    const attachment = new Network(host, { ipam: hostLocal(host, subnets.ipv6) }).attach()
    attachment.container.ip('link set eth0 down\nlink set eth0 up')
    t.same(attachment.container.addresses('eth0'), ['fd00:88::2/64'])
  }),
)

t.test("the configuration's dns takes the place of the address plugin's", t =>
  withHost(t, host => {
    const resolvConf = join(host.directory, 'resolv.conf')
    writeFileSync(resolvConf, 'nameserver 192.0.2.53\nsearch example.org\noptions ndots:2\n')
    const ipam = { ...hostLocal(host), resolvConf }
    const network = new Network(host, { ipam })
    t.same(network.attach().result.dns, {
      nameservers: ['192.0.2.53'],
      search: ['example.org'],
      options: ['ndots:2'],
    })
    const dns = { nameservers: ['192.0.2.54'], domain: 'example.net' }
    t.same(network.with({ dns }).attach().result.dns, dns)
    t.same(network.with({ dns: {} }).attach().result.dns?.nameservers, ['192.0.2.53'], 'an empty one says nothing')
  }),
)

t.test('containers added at once get one bridge, one address each, and reach the host', t =>
  withHost(t, async host => {
    const network = new Network(host, { ipMasq: true, ipam: hostLocal(host, subnets.ipv4, subnets.ipv6) })
    const made = await network.attachAtOnce(12)
    t.equal(new Set(made.flatMap(({ addresses }) => addresses)).size, 24)
    t.same(host.addresses('br0'), ['10.88.0.1/24', 'fd00:88::1/64'])
    for (const { container } of made) t.ok(container.pings(gateways.ipv6, 0.5))
    for (const attachment of made) t.equal(attachment.check().stdout, '')
  }),
)
