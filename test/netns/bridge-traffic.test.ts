/** Packets between containers, their host and the world behind it, through the bridge plugin. */

import t from 'tap'
import {
  ask,
  createOutside,
  families,
  fetchPage,
  gateways,
  type Host,
  hostLocal,
  Network,
  type NetworkNamespace,
  outsideAddresses,
  startPeer,
  subnets,
  withHost,
} from '../harness/index.ts'

const isIpv6 = (address: string): boolean => address.includes(':')
const familyOf = (address: string) => (isIpv6(address) ? 'ipv6' : 'ipv4')
const backends = ['nftables', 'iptables'] as const

for (const ipMasqBackend of backends)
  for (const [family, ranges] of Object.entries(families))
    t.test(
      `${family}: a container reaches its neighbour, its host and, masqueraded by ${ipMasqBackend}, the outside`,
      t =>
        withHost(t, async host => {
          const outside = createOutside(host)
          const network = new Network(host, { ipMasq: true, ipMasqBackend, ipam: hostLocal(host, ...ranges) })
          const one = network.attach()
          const two = network.attach()
          t.equal(one.check().stdout, '', 'CHECK finds nothing')
          await Promise.all([startPeer(host, two.container), startPeer(host, outside)])
          for (const [index, neighbour] of two.addresses.entries()) {
            const own = one.addresses[index]
            const kind = familyOf(neighbour)
            t.ok(one.container.pings(gateways[kind]), `${kind}: ping to the host`)
            t.ok(host.pings(neighbour), `${kind}: ping from the host`)
            t.ok(one.container.pings(neighbour), `${kind}: ping to the neighbour`)
            const world = outsideAddresses.outside[kind]
            const seen = outsideAddresses.host[kind]
            for (const transport of ['tcp', 'udp'] as const) {
              t.equal(
                ask(one.container, transport, neighbour),
                `${own} hello`,
                `${transport}: the neighbour sees the container`,
              )
              t.equal(ask(one.container, transport, world), `${seen} hello`, `${transport}: the outside sees the host`)
            }
            t.equal(fetchPage(one.container, world), `${seen} GET /`)
          }
        }),
    )

t.test('without masquerade the outside sees the container itself', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    const { container, address } = new Network(host).attach()
    outside.ip(`route add ${subnets.ipv4} via ${outsideAddresses.host.ipv4}`)
    await startPeer(host, outside)
    t.equal(ask(container, 'tcp', outsideAddresses.outside.ipv4), `${address} hello`)
  }),
)

/** An address of the containers' subnet that is far away: the host answers for it and routes there. */
function placeOutside(host: Host, outside: NetworkNamespace, address: string, subnet: string): void {
  const kind = familyOf(address)
  const length = isIpv6(address) ? 128 : 32
  outside.ip(`addr add ${address}/${length} dev lo ${isIpv6(address) ? 'nodad' : ''}
route add ${subnet} via ${outsideAddresses.host[kind]}`)
  host.ip(`route add ${address}/${length} via ${outsideAddresses.outside[kind]}
neigh add proxy ${address} dev br0`)
  if (isIpv6(address)) host.output(['sysctl', '-qw', 'net.ipv6.conf.br0.proxy_ndp=1'])
  // By default the kernel waits up to 0.8 seconds before it answers for another.
  host.output(['sysctl', '-qw', `net.${kind}.neigh.br0.proxy_delay=0`])
}

for (const ipMasqBackend of backends)
  t.test(`${ipMasqBackend} masquerades neither what stays in the container's subnet nor multicast`, t =>
    withHost(t, async host => {
      const outside = createOutside(host)
      const ipam = hostLocal(host, subnets.ipv4, subnets.ipv6)
      const { container, addresses } = new Network(host, { ipMasq: true, ipMasqBackend, ipam }).attach()
      await startPeer(host, outside)
      placeOutside(host, outside, '10.88.0.200', subnets.ipv4)
      placeOutside(host, outside, 'fd00:88::200', subnets.ipv6)
      for (const [index, far] of ['10.88.0.200', 'fd00:88::200'].entries()) {
        t.equal(ask(container, 'tcp', far), `${addresses[index]} hello`, `to ${far} with the container's own address`)
        const beyond = outsideAddresses.outside[familyOf(far)]
        t.equal(
          ask(container, 'tcp', beyond),
          `${outsideAddresses.host[familyOf(far)]} hello`,
          `to ${beyond} with the host's`,
        )
      }

      // What the host itself sends passes the same hook, and it routes multicast without a daemon.
      const [ipv4 = '', ipv6 = ''] = addresses
      host.ip(`addr add ${ipv4}/32 dev lo\naddr add ${ipv6}/128 dev lo nodad`)
      outside.output(['nft', '-f', '-'], {
        input: `table inet seen {
          set sources { typeof ip saddr; flags dynamic; }
          set sources6 { typeof ip6 saddr; flags dynamic; }
          chain arriving { type filter hook prerouting priority raw
            ip daddr 224.0.0.251 add @sources { ip saddr }
            ip6 daddr ff05::fb add @sources6 { ip6 saddr }
          }
        }`,
      })
      host.execute(['ping', '-c', '1', '-W', '0.1', '-I', 'uplink', '-I', ipv4, '224.0.0.251'])
      host.execute(['ping', '-c', '1', '-W', '0.1', '-I', 'uplink', '-I', ipv6, 'ff05::fb'])
      const seen = outside.output(['nft', 'list', 'table', 'inet', 'seen'])
      t.match(seen, new RegExp(`elements = \\{ ${ipv4} \\}`), 'IPv4 multicast keeps its source')
      t.match(seen, new RegExp(`elements = \\{ ${ipv6} \\}`), 'IPv6 multicast keeps its source')
    }),
  )

t.test('the first IPv6 ping after ADD is answered at once, in every direction', t =>
  withHost(t, host => {
    const network = new Network(host, { ipMasq: true, ipam: hostLocal(host, subnets.ipv6) })
    const one = network.attach()
    t.ok(one.container.pings(gateways.ipv6, 0.5), 'to the gateway, by the container that brought the bridge')
    t.ok(network.attach().container.pings(gateways.ipv6, 0.5), 'to the gateway, by one that came to it')
    t.ok(host.pings(network.attach().address, 0.5), 'by the host')
    t.ok(one.container.pings(network.attach().address, 0.5), 'by the neighbour')
  }),
)

t.test('two networks on two bridges may have the same subnet', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    const first = new Network(host, { name: 'first', bridge: 'br1', isDefaultGateway: false, ipMasq: true })
    const second = first.with({ name: 'second', bridge: 'br2' })
    const [one, peer] = [first.attach(), first.attach()]
    const [two, other] = [second.attach(), second.attach()]
    t.equal(one.address, two.address)
    await Promise.all([
      startPeer(host, peer.container),
      startPeer(host, other.container, 8090),
      startPeer(host, outside),
    ])
    t.equal(ask(one.container, 'tcp', peer.address), `${one.address} hello`)
    t.equal(ask(one.container, 'tcp', other.address, 8090), undefined, 'nobody there: the networks are apart')
    t.equal(ask(two.container, 'tcp', other.address, 8090), `${two.address} hello`)
    one.del()
    first.gc([])
    t.equal(two.check().stdout, '', "the other network's masquerade is still there")
    host.ip(`addr add ${gateways.ipv4}/24 dev br2`)
    two.container.ip(`route add default via ${gateways.ipv4}`)
    host.output(['sysctl', '-qw', 'net.ipv4.ip_forward=1'])
    t.equal(ask(two.container, 'tcp', outsideAddresses.outside.ipv4), `${outsideAddresses.host.ipv4} hello`)
  }),
)

for (const ipMasqBackend of backends)
  t.test(`a container attached twice to one network keeps either when the other goes (${ipMasqBackend})`, t =>
    withHost(t, async host => {
      const outside = createOutside(host)
      const network = new Network(host, { ipMasq: true, ipMasqBackend })
      const container = host.createContainer()
      // By default either interface answers for both addresses, and neighbours are left with a MAC address that is gone.
      container.output(['sysctl', '-qw', 'net.ipv4.conf.all.arp_ignore=1'])
      const first = network.attach({ container, containerId: 'both' })
      const second = network.attach({ container, containerId: 'both', ifname: 'net1' })
      await startPeer(host, outside)
      t.not(first.address, second.address)
      t.not(first.port, second.port)
      t.same(container.links(), ['lo', 'eth0', 'net1'])
      for (const { address } of [first, second]) t.ok(host.pings(address))
      t.equal(first.check().stdout, '')
      t.equal(second.check().stdout, '')
      second.del()
      t.same(container.links(), ['lo', 'eth0'])
      t.equal(first.check().stdout, '')
      t.equal(ask(container, 'tcp', outsideAddresses.outside.ipv4), `${outsideAddresses.host.ipv4} hello`)
    }),
  )

t.test('a container attached to two networks talks in both', t =>
  withHost(t, host => {
    const pods = new Network(host)
    const storage = new Network(host, {
      name: 'storage',
      bridge: 'br1',
      isDefaultGateway: false,
      isGateway: true,
      ipam: hostLocal(host, '10.89.0.0/24', 'fd00:89::/64'),
    })
    const container = host.createContainer()
    const first = pods.attach({ container })
    const second = storage.attach({ container, containerId: first.containerId, ifname: 'net1' })
    for (const address of [gateways.ipv4, '10.89.0.1', 'fd00:89::1']) t.ok(container.pings(address), address)
    const neighbour = storage.attach()
    for (const address of neighbour.addresses) t.ok(container.pings(address), `neighbour ${address}`)
    first.del()
    t.same(container.links(), ['lo', 'net1'])
    t.ok(container.pings('10.89.0.1'))
    t.equal(second.check().stdout, '')
  }),
)
