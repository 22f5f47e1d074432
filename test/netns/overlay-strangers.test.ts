/** Tunnel packets of hosts that do not belong to a network: dropped before they are decapsulated. */

import t from 'tap'
import {
  type Attachment,
  type ClusterHost,
  type NetworkNamespace,
  type Station,
  withCluster,
} from '../harness/index.ts'
import { attachEverywhere, overlayOn, ownAddresses } from './overlay-fixture.ts'

interface Forgery {
  readonly vni: number
  /** Underlay address of the host that is attacked. */
  readonly target: string
  readonly victim: Attachment
}

/**
 * A tunnel of the attacker's own into the network, with an address in its subnet. The victim's hardware address is given:
 * the answer to ARP would find no way back to the attacker. Gives the victim's address, which counts what comes.
 */
function forge(attacker: NetworkNamespace, { vni, target, victim }: Forgery): string {
  const [address = ''] = ownAddresses(victim)
  countRequests(victim.container)
  attacker.ip(`
link add forged type vxlan id ${vni} remote ${target} dstport 4789
link set forged mtu 1400
addr add 10.1.0.250/24 dev forged
link set forged up
neigh add ${address} lladdr ${victim.result.interfaces?.[0]?.mac} dev forged nud permanent`)
  return address
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
    const address = forge(cluster.outside, { vni: 4097, target: host.underlay.ipv4, victim: one })
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
    const address = forge(cluster.outside, { vni: 4097, target: host.underlay.ipv4, victim: one })
    cluster.outside.ip('link set uplink mtu 600')
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
    forge(three, { vni: 4098, target: one.underlay.ipv4, victim: target })
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
    const address = forge(cluster.outside, { vni: 4097, target: cluster.host(1).underlay.ipv6, victim: one })
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
