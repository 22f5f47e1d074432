/** Tunnel packets of hosts that do not belong to a network: dropped before they are decapsulated. */

import t from 'tap'
import { type ClusterHost, type NetworkNamespace, type Station, withCluster } from '../harness/index.ts'
import { attachEverywhere, overlayOn, ownAddresses } from './overlay-fixture.ts'

interface Forgery {
  readonly vni: number
  /** Underlay address of the host that is attacked. */
  readonly target: string
  readonly address: string
  readonly port?: number
}

/** A tunnel of the attacker's own into the network, with an address in its subnet. */
function forge(attacker: NetworkNamespace, { vni, target, address, port = 4789 }: Forgery): void {
  const type = `type vxlan id ${vni} remote ${target} dstport ${port}`
  attacker.ip(`
link add forged ${type}
link set forged mtu 1400
addr add ${address} dev forged
link set forged up`)
}

/** Counts the ICMP requests that come into the container's interface. */
function countRequests(container: NetworkNamespace): void {
  const input = `table inet seen {
  chain in { type filter hook input priority raw; iifname eth0 icmp type echo-request counter; }
}
`
  container.output(['nft', '-f', '-'], { input })
}

/** How many have come. */
function counted(container: NetworkNamespace): number {
  const text = container.output(['nft', 'list', 'table', 'inet', 'seen'])
  return Number(/packets (\d+)/.exec(text)?.[1])
}

t.test('an outsider with the right VNI reaches nobody, until it is made a peer', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const [one] = attachEverywhere(cluster, { internal: true })
    if (one === undefined) throw new Error('there is an attachment')
    const host = cluster.host(1)
    const [address = ''] = ownAddresses(one)
    countRequests(one.container)
    // Without ARP, whose answer would find no way back to the attacker.
    const mac = one.result.interfaces?.[0]?.mac
    forge(cluster.outside, { vni: 4097, target: host.underlay.ipv4, address: '10.1.0.250/24' })
    cluster.outside.ip(`neigh add ${address} lladdr ${mac} dev forged nud permanent`)
    cluster.outside.pings(address, 1)
    t.equal(counted(one.container), 0, 'the packet does not arrive')
    t.match(
      host.output(['nft', 'list', 'table', 'inet', 'cnikit-overlay']),
      /4789 \. 0x1001 \. 192\.0\.2\.2/,
      'nor is the other host shut out',
    )
    t.ok(cluster.host(2).pings(host.underlay.ipv4))
    host.output(['nft', 'add element inet cnikit-overlay peers-ipv4 { 4789 . 0x1001 . 192.0.2.200 }'])
    cluster.outside.pings(address, 1)
    t.ok(counted(one.container) > 0, 'the same packet of a peer does arrive')
  }),
)

t.test('fragments and odd VXLAN headers are no way around the filter', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const [one] = attachEverywhere(cluster, { internal: true })
    if (one === undefined) throw new Error('there is an attachment')
    const host = cluster.host(1)
    const [address = ''] = ownAddresses(one)
    countRequests(one.container)
    forge(cluster.outside, { vni: 4097, target: host.underlay.ipv4, address: '10.1.0.250/24' })
    const { mac } = one.result.interfaces?.[0] ?? {}
    cluster.outside.ip(`link set uplink mtu 600\nneigh add ${address} lladdr ${mac} dev forged nud permanent`)
    const large = ['ping', '-c', '1', '-W', '1', '-s', '1200', address]
    cluster.outside.execute(large)
    t.equal(counted(one.container), 0)
    host.output(['nft', 'add element inet cnikit-overlay peers-ipv4 { 4789 . 0x1001 . 192.0.2.200 }'])
    cluster.outside.execute(large)
    t.ok(counted(one.container) > 0, 'fragments of a peer arrive')
  }),
)

t.test('a peer of one network has no part in another network on the same port', t =>
  withCluster(t, { hosts: 3 }, cluster => {
    const addresses = (hosts: readonly (ClusterHost | Station)[]) => hosts.map(({ underlay }) => underlay.ipv4)
    const both = { type: 'static', peers: addresses(cluster.hosts.slice(0, 2)) }
    const [one, two, three] = [cluster.host(1), cluster.host(2), cluster.host(3)]
    overlayOn(cluster, one, { internal: true }).attach()
    const secret = { name: 'secret', vni: 4098, controlPlane: both, internal: true }
    const [target, friend] = [overlayOn(cluster, one, secret).attach(), overlayOn(cluster, two, secret).attach()]
    const [address = ''] = ownAddresses(target)
    t.ok(friend.container.pings(address), 'a peer of the network reaches it')
    countRequests(target.container)
    forge(three, { vni: 4098, target: one.underlay.ipv4, address: '10.1.0.250/24' })
    three.ip(`neigh add ${address} lladdr ${target.result.interfaces?.[0]?.mac} dev forged nud permanent`)
    three.pings(address, 1)
    t.equal(counted(target.container), 0, 'a peer of another network does not')
    friend.container.pings(address)
    t.equal(counted(target.container), 1)
  }),
)

t.test('strangers are dropped over IPv6 too', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const peers = cluster.hosts.map(({ underlay }) => underlay.ipv6)
    const [one] = attachEverywhere(cluster, { controlPlane: { type: 'static', peers }, internal: true })
    if (one === undefined) throw new Error('there is an attachment')
    const [address = ''] = ownAddresses(one)
    countRequests(one.container)
    const { mac } = one.result.interfaces?.[0] ?? {}
    forge(cluster.outside, { vni: 4097, target: cluster.host(1).underlay.ipv6, address: '10.1.0.250/24' })
    cluster.outside.ip(`neigh add ${address} lladdr ${mac} dev forged nud permanent`)
    cluster.outside.pings(address, 1)
    t.equal(counted(one.container), 0)
    cluster.host(1).output(['nft', 'add element inet cnikit-overlay peers-ipv6 { 4789 . 0x1001 . 2001:db8:2::c8 }'])
    cluster.outside.pings(address, 1)
    t.ok(counted(one.container) > 0)
  }),
)

t.test('a multicast group with a list of peers takes packets of these alone', t =>
  withCluster(t, { hosts: 3 }, cluster => {
    const peers = cluster.hosts.slice(0, 2).map(({ underlay }) => underlay.ipv4)
    const group = { type: 'multicast', group: '239.1.1.1', interface: 'uplink' }
    const [one, two] = [1, 2].map(number =>
      overlayOn(cluster, cluster.host(number), { controlPlane: { ...group, peers }, internal: true }).attach(),
    )
    const stranger = overlayOn(cluster, cluster.host(3), { controlPlane: group, internal: true }).attach()
    const [address = ''] = one === undefined ? [] : ownAddresses(one)
    t.ok(two?.container.pings(address))
    t.notOk(stranger.container.pings(address, 1))
  }),
)
