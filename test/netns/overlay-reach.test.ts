/** Which containers, hosts and outsiders reach one another through overlay networks, with packets. */

import t, { type Test } from 'tap'
import { type Attachment, ask, type Cluster, startPeer, withCluster } from '../harness/index.ts'
import { attachEverywhere, gatewayAddresses, overlayOn, ownAddresses, staticPeers } from './overlay-fixture.ts'

/** Everybody reaches everybody's addresses in both families. */
function assertMesh(t: Test, attachments: readonly Attachment[], mtu: number): void {
  for (const from of attachments) {
    for (const to of attachments) {
      if (to === from) continue
      for (const address of ownAddresses(to)) {
        t.ok(from.container.pings(address), `${ownAddresses(from)[0]} reaches ${address}`)
        t.ok(from.container.pingsUnfragmented(address, mtu), `with ${mtu} bytes in one piece`)
      }
    }
  }
}

const underlays: Readonly<
  Record<string, { readonly controlPlane: (cluster: Cluster) => object; readonly mtu: number }>
> = {
  'static peers over IPv4': { controlPlane: cluster => staticPeers(cluster), mtu: 1450 },
  'static peers over IPv6': { controlPlane: cluster => staticPeers(cluster, 'ipv6'), mtu: 1430 },
  'a multicast group over IPv4': {
    controlPlane: () => ({ type: 'multicast', group: '239.1.1.1', interface: 'uplink' }),
    mtu: 1450,
  },
  'a multicast group over IPv6': {
    controlPlane: () => ({ type: 'multicast', group: 'ff05::100', interface: 'uplink' }),
    mtu: 1430,
  },
}
for (const [name, { controlPlane, mtu }] of Object.entries(underlays)) {
  t.test(`${name}: containers on all hosts reach one another in both families, with whole packets`, t =>
    withCluster(t, { hosts: 3 }, cluster => {
      const config = { controlPlane: controlPlane(cluster) }
      const attachments = attachEverywhere(cluster, config)
      attachments.push(overlayOn(cluster, cluster.host(1), config).attach())
      for (const { result, container } of attachments) {
        t.equal(result.interfaces?.[0]?.mtu, mtu, 'the MTU leaves room for the tunnel')
        t.equal(container.show('link', 'show', 'dev', 'eth0')[0]?.mtu, mtu)
      }
      assertMesh(t, attachments, mtu)
      const [one, two] = attachments
      if (one === undefined || two === undefined) throw new Error('there are attachments')
      t.notOk(one.container.pingsUnfragmented(ownAddresses(two)[0] ?? '', mtu + 1), 'a byte more does not pass')
    }),
  )
}

t.test('TCP, UDP and HTTP pass between hosts with the addresses of both ends', t =>
  withCluster(t, { hosts: 2 }, async cluster => {
    const [one, two] = attachEverywhere(cluster)
    if (one === undefined || two === undefined) throw new Error('there are attachments')
    await startPeer(two.network.host, two.container)
    for (const [index, address] of ownAddresses(two).entries()) {
      const from = ownAddresses(one)[index]
      t.equal(ask(one.container, 'tcp', address), `${from} hello`)
      t.equal(ask(one.container, 'udp', address), `${from} hello`)
    }
  }),
)

t.test('the world is reached over the gateway bridge with the address of the host, in both families', t =>
  withCluster(t, { hosts: 2 }, async cluster => {
    const attachments = attachEverywhere(cluster)
    const { outside } = cluster
    await startPeer(cluster.underlay, outside)
    for (const attachment of attachments) {
      const { underlay } = cluster.hosts[attachments.indexOf(attachment)] ?? cluster.host(1)
      t.equal(ask(attachment.container, 'tcp', outside.underlay.ipv4), `${underlay.ipv4} hello`)
      t.equal(ask(attachment.container, 'tcp', outside.underlay.ipv6), `${underlay.ipv6} hello`)
      t.equal(ask(attachment.container, 'udp', outside.underlay.ipv4), `${underlay.ipv4} hello`)
      t.ok(attachment.container.pingsUnfragmented(outside.underlay.ipv4, 1500), 'with the MTU of the underlay')
    }
  }),
)

t.test('no host and no outsider reaches a container over the overlay', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const attachments = attachEverywhere(cluster)
    for (const address of attachments.flatMap(ownAddresses)) {
      for (const from of [...cluster.hosts, cluster.outside]) {
        t.notOk(from.pings(address, 1), `${from.underlay.ipv4} does not reach ${address}`)
      }
    }
  }),
)

t.test('nothing passes between containers over the gateway bridge, neither bridged nor routed', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    const [one, two] = [network.attach(), network.attach()]
    await startPeer(host, two.container)
    for (const address of gatewayAddresses(two)) {
      t.ok(host.pings(address), `the host reaches ${address}`)
      t.notOk(one.container.pings(address, 1), `a container does not reach ${address}`)
      // Not as a neighbour, but through the gateway.
      const gateway = one.result.ips?.find(ip => ip.gateway?.includes(':') === address.includes(':'))?.gateway
      one.container.ip(`route add ${address} via ${gateway}`)
      t.notOk(one.container.pings(address, 1), `nor through ${gateway}`)
      t.equal(ask(one.container, 'tcp', address), undefined)
    }
  }),
)

t.test('two networks with the same addresses and two with others live on the same hosts and never meet', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const [one, two] = [cluster.host(1), cluster.host(2)]
    const web = attachEverywhere(cluster)
    const [twin] = [overlayOn(cluster, two, { name: 'twin', vni: 4098, internal: true })].map(network =>
      network.attach(),
    )
    const lonely = overlayOn(cluster, one, { name: 'twin', vni: 4098, internal: true }).attach()
    t.same(
      ownAddresses(lonely).map(address => address.replace(/\d+$/, '')),
      ownAddresses(web[0] as Attachment).map(address => address.replace(/\d+$/, '')),
      'the subnets are the same',
    )
    const target = ownAddresses(twin as Attachment)[0] ?? ''
    t.ok(lonely.container.pings(target), 'within the network')
    const marked = (attachment: Attachment | undefined) => attachment?.container.show('neigh', 'show', 'dev', 'eth0')
    web[0]?.container.pings(target, 1)
    const twinMac = twin?.result.interfaces?.[0]?.mac
    t.notOk(JSON.stringify(marked(web[0])).includes(String(twinMac)), 'the other network does not see its neighbour')
    const other = overlayOn(cluster, one, {
      name: 'other',
      vni: 4099,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.9.0.0/24' }]] },
    }).attach()
    for (const address of ownAddresses(web[1] as Attachment)) {
      t.notOk(other.container.pings(address, 1), `a container of another network does not reach ${address}`)
    }
  }),
)

t.test('a container in two networks reaches both, and goes out by the first', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const [one, two] = [cluster.host(1), cluster.host(2)]
    const db = (host: typeof one) => ({
      name: 'db',
      vni: 4098,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.2.0.0/24', rangeStart: `10.2.0.${host.number * 16}` }]] },
    })
    const first = overlayOn(cluster, one).attach()
    const { container, containerId } = first
    const second = overlayOn(cluster, one, db(one)).attach({ container, containerId, ifname: 'db0' })
    t.same(container.links().toSorted(), ['db0', 'eth0', 'eth1', 'lo'], 'with one way out')
    t.equal(second.result.interfaces?.length, 1)
    const [web, database] = [overlayOn(cluster, two).attach(), overlayOn(cluster, two, db(two)).attach()]
    for (const address of [...ownAddresses(web), ...ownAddresses(database)]) t.ok(container.pings(address))
    t.ok(container.pings(cluster.outside.underlay.ipv4))
    second.del()
    t.ok(container.pings(cluster.outside.underlay.ipv4), 'still when it has left the second')
    t.equal(second.container.links().includes('db0'), false)
  }),
)

t.test('an internal network has no way out, and a container of it no second interface', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const attachments = attachEverywhere(cluster, { internal: true })
    assertMesh(t, attachments, 1450)
    for (const { container, result } of attachments) {
      t.same(container.links().toSorted(), ['eth0', 'lo'])
      t.equal(result.routes, undefined)
      t.notOk(container.pings(cluster.outside.underlay.ipv4, 1))
    }
    t.notOk(cluster.host(1).links().includes('docker_gwbridge'))
  }),
)

t.test('broadcast and multicast reach the containers of all hosts', t =>
  withCluster(t, { hosts: 3 }, cluster => {
    const attachments = attachEverywhere(cluster)
    const [one] = attachments
    for (const { container } of attachments)
      container.output(['sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_broadcasts=0'])
    const answers = (address: string) =>
      one?.container.execute(['ping', '-n', '-b', '-c', '2', '-i', '0.3', '-W', '1', '-I', 'eth0', address]).stdout ??
      ''
    for (const other of attachments.slice(1)) {
      const [ipv4 = ''] = ownAddresses(other)
      t.match(answers('10.1.0.255'), `from ${ipv4}`, 'broadcast')
      t.match(answers('224.0.0.1'), `from ${ipv4}`, 'multicast')
    }
  }),
)

t.test('a container that moves to another host with its addresses is reached there at once', t =>
  withCluster(t, { hosts: 3 }, cluster => {
    const observer = overlayOn(cluster, cluster.host(3)).attach()
    const ipam = { type: 'static', addresses: [{ address: '10.1.0.200/24' }, { address: 'fd00:1::200/64' }] }
    for (const number of [1, 2, 1, 2]) {
      const moved = overlayOn(cluster, cluster.host(number), { ipam }).attach()
      for (const address of ownAddresses(moved)) {
        t.ok(observer.container.pings(address), `${address} on host ${number}`)
      }
      moved.del()
    }
  }),
)
