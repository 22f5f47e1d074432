/** What passes with forwarding by iptables, on a host whose FORWARD drops everything else. */

import t from 'tap'
import { ask, createOutside, hostLocal, Network, outsideAddresses, startPeer, withHost } from '../harness/index.ts'
import { add, isolated, remove, sameBridge } from './firewall-plugin-iptables-fixture.ts'
import { attachment } from './portmap-iptables-fixture.ts'

t.test('what is accepted passes in both directions; the policies and the admin chain come first', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    host.allowForwarding()
    const network = (name: string, bridge: string, ...subnets: string[]) =>
      new Network(host, { name, bridge, ipMasq: false, ipam: hostLocal(host, ...subnets) }).attach()
    const one = network('one', 'br0', '10.1.0.0/24', 'fd00:1::/64')
    const two = network('two', 'br1', '10.2.0.0/24', 'fd00:2::/64')
    const { host: near, outside: far } = outsideAddresses
    outside.ip(`route add 10.0.0.0/8 via ${near.ipv4}\nroute add fd00::/16 via ${near.ipv6}`)
    for (const program of ['iptables', 'ip6tables']) host.output([program, '-P', 'FORWARD', 'DROP'])
    for (const peer of [outside, one.container, two.container]) await startPeer(host, peer)
    const whose = attachment(one.containerId, 'eth0', 'one')
    const other = attachment(two.containerId, 'eth0', 'two')
    /** Who is not reached costs a second. */
    const pinged = (addresses: readonly string[]) => addresses.map(address => one.container.pings(address, 1))
    const answered = (addresses: readonly string[]) =>
      addresses.flatMap(address =>
        (['tcp', 'udp'] as const).map(transport => ask(one.container, transport, address) !== undefined),
      )
    const outsides = [far.ipv4, far.ipv6]

    t.same(pinged(outsides), [false, false], 'FORWARD drops')
    add(host, whose, one.addresses)
    t.same(answered(outsides), [true, true, true, true], 'what it sends passes, and the answers')
    t.equal(outside.pings(one.address, 1), false, 'nobody else begins')
    add(host, other, two.addresses)
    t.same(answered(two.addresses), [true, true, true, true], 'policy "open"')
    add(host, whose, one.addresses, sameBridge('br0'))
    add(host, other, two.addresses, sameBridge('br1'))
    t.same(pinged(two.addresses), [false, false], 'policy "same-bridge"')
    t.same(pinged(outsides), [true, true], 'which leaves the outside alone')
    host.output(['iptables', '-A', 'CNI-ADMIN', '-p', 'icmp', '-j', 'DROP'])
    t.same(pinged(outsides), [false, true], 'what the operator drops')
    host.output(['iptables', '-F', 'CNI-ADMIN'])
    remove(host, whose)
    t.same(pinged(outsides), [false, false], 'after DEL')
  }),
)

t.test(
  'with policy "isolated" not even containers of one bridge reach each other, where the host forwards between them',
  t =>
    withHost(t, async host => {
      host.allowForwarding()
      // Two containers behind one interface that are not on one link: all goes through the host.
      host.ip('link add br0 type bridge\nlink set br0 up\naddr add 10.1.0.1/32 dev br0')
      const containers = [5, 6].map(number => {
        const container = host.createContainer()
        host.ip(`link add port${number} type veth peer name eth0 netns ${container.name}
link set port${number} master br0 up
route add 10.1.0.${number}/32 dev br0`)
        host.output(['bridge', 'link', 'set', 'dev', `port${number}`, 'isolated', 'on'])
        container.ip(`link set lo up\nlink set eth0 up\naddr add 10.1.0.${number}/32 dev eth0
route add 10.1.0.1 dev eth0\nroute add default via 10.1.0.1`)
        return container
      })
      const [five, six] = containers
      if (five === undefined || six === undefined) throw new Error('no containers')
      await startPeer(host, six)
      const tries = () => ask(five, 'tcp', '10.1.0.6') !== undefined
      add(host, attachment('five'), ['10.1.0.5'], sameBridge('br0'))
      add(host, attachment('six'), ['10.1.0.6'], sameBridge('br0'))
      t.equal(tries(), true)
      add(host, attachment('six'), ['10.1.0.6'], isolated('br0'))
      t.equal(tries(), false)
    }),
)
