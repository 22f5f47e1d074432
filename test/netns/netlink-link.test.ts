/** Links over netlink: made, read and changed, with ip-link(8) as the witness. */

import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import {
  addLink,
  addLinkRequest,
  getLink,
  type Link,
  listLinks,
  type NewLink,
  setLink,
  setLinkRequest,
} from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { openNamespace } from '../../lib/netns/index.ts'
import {
  address,
  findLink,
  mac,
  makeLink,
  openRouteSocket,
  type ShownLink,
  shownLink,
  text,
  withRouteSocket,
} from './netlink-fixture.ts'

const operStateNames: Readonly<Record<string, string>> = { LOWERLAYERDOWN: 'lowerLayerDown', NOTPRESENT: 'notPresent' }

/** The link as ip shows it, in our words. */
const asShown = (one: ShownLink) => ({
  index: one.ifindex,
  name: one.ifname,
  kind: one.linkinfo?.info_kind,
  up: one.flags.includes('UP'),
  loopback: one.flags.includes('LOOPBACK'),
  promiscuous: one.flags.includes('PROMISC'),
  operState: operStateNames[one.operstate] ?? one.operstate.toLowerCase(),
  mtu: one.mtu,
  minMtu: one.min_mtu,
  maxMtu: one.max_mtu,
  mac: one.address,
  group: one.group === 'default' ? 0 : Number(one.group),
  alias: one.ifalias,
  alternativeNames: one.altnames ?? [],
  txQueueLength: one.txqlen ?? 0,
  promiscuity: one.promiscuity,
})

const asRead = (link: Link) => ({
  index: link.index,
  name: link.name,
  kind: link.kind,
  up: link.up,
  loopback: link.loopback,
  promiscuous: link.promiscuous,
  operState: link.operState,
  mtu: link.mtu,
  minMtu: link.minMtu,
  maxMtu: link.maxMtu,
  mac: text.mac(link.mac),
  group: link.group,
  alias: link.alias,
  alternativeNames: link.alternativeNames,
  txQueueLength: link.txQueueLength,
  promiscuity: link.promiscuity,
})

t.test('what is read of every link is what ip shows', t =>
  withRouteSocket(t, (socket, host) => {
    host.ip(`
      link add br0 address 02:00:00:00:00:01 mtu 1400 type bridge
      link add veth0 txqueuelen 7 type veth peer name veth1
      link set veth0 master br0 up
      link set veth1 up promisc on
      link add ifb0 type ifb
      link set ifb0 alias some-alias group 17
      link property add dev ifb0 altname a-name-that-is-longer-than-15-bytes altname second
      link add mv0 link veth1 type macvlan mode private
      link add vx0 type vxlan id 5 local 192.0.2.1 dstport 4789 nolearning
      tuntap add tap0 mode tap
    `)
    // The kernel is slow to notice carriers: ip is asked before and after, until nothing has changed between.
    let [before, ours, after]: [unknown[], Link[], unknown[]] = [[], [], [undefined]]
    for (let round = 0; round < 100 && JSON.stringify(before) !== JSON.stringify(after); round++) {
      before = host.show<ShownLink[]>('link').map(asShown)
      ours = listLinks(socket)
      for (const { name } of ours) findLink(socket, name)
      after = host.show<ShownLink[]>('link').map(asShown)
    }
    t.same(ours.map(asRead), after)
    for (const one of ours) t.same(asRead(findLink(socket, one.name)), asRead(one), `${one.name} alone`)
    t.equal(findLink(socket, 'veth0').master, shownLink(host, 'br0').ifindex)
    t.equal(findLink(socket, 'veth0').parent, shownLink(host, 'veth1').ifindex)
    t.equal(findLink(socket, 'mv0').parent, shownLink(host, 'veth1').ifindex)
  }),
)

t.test('every kind is made as ip would make it', t =>
  withRouteSocket(t, (socket, host) => {
    const below = makeLink(socket, { name: 'below', kind: 'ifb', up: true })
    const make = (link: NewLink) => {
      addLink(socket, link)
      return shownLink(host, link.name).linkinfo
    }
    const bridge = { vlanDefaultPvid: 0, mcastSnooping: false, ageingTime: 4200, forwardDelay: 400, stpState: 0 }
    t.match(make({ name: 'br0', kind: 'bridge', bridge }), {
      info_kind: 'bridge',
      info_data: { mcast_snooping: 0, ageing_time: 4200, forward_delay: 400, stp_state: 0 },
    })
    const vxlan = {
      id: 77,
      local: address('192.0.2.1'),
      group: address('239.1.1.1'),
      link: below.index,
      port: 4789,
      learning: false,
    }
    t.match(make({ name: 'vx4', kind: 'vxlan', vxlan: { ...vxlan, ttl: 9, ageing: 60 } }), {
      info_kind: 'vxlan',
      info_data: {
        id: 77,
        local: '192.0.2.1',
        group: '239.1.1.1',
        link: 'below',
        port: 4789,
        learning: false,
        ttl: 9,
        ageing: 60,
      },
    })
    const six = {
      id: 78,
      local: address('2001:db8::1'),
      port: 4790,
      udpZeroCsum6Tx: true,
      portRange: { low: 10000, high: 20000 },
    }
    t.match(make({ name: 'vx6', kind: 'vxlan', vxlan: six }), {
      info_data: {
        id: 78,
        local6: '2001:db8::1',
        port: 4790,
        udp_zero_csum6_tx: true,
        port_range: { low: 10000, high: 20000 },
      },
    })
    t.match(make({ name: 'vxe', kind: 'vxlan', vxlan: { collectMetadata: true } }), { info_data: { external: true } })
    t.match(make({ name: 'mv0', kind: 'macvlan', parent: below.index, macvlan: { mode: 'bridge', bcQueueLen: 55 } }), {
      info_kind: 'macvlan',
      info_data: { mode: 'bridge', bcqueuelen: 55 },
    })
    t.match(make({ name: 'i0', kind: 'ifb', numTxQueues: 3 }), { info_kind: 'ifb' })
    t.equal(shownLink(host, 'i0').num_tx_queues, 3)
    t.match(make({ name: 'v0', kind: 'veth', index: 4321, peer: { name: 'v1', mtu: 1300, multicast: false } }), {
      info_kind: 'veth',
    })
    t.equal(shownLink(host, 'v0').ifindex, 4321, 'with the index that was asked for')
    t.match(shownLink(host, 'v1'), { mtu: 1300 })
    t.notOk(shownLink(host, 'v1').flags.includes('MULTICAST'))
  }),
)

t.test('the settings of every kind are read as ip shows them', t =>
  withRouteSocket(t, (socket, host) => {
    host.ip(`
      link add below up type ifb
      link add br0 type bridge stp_state 0 priority 4096 hello_time 300 mcast_snooping 0 group_address 01:80:c2:00:00:04
      link add vx4 type vxlan id 77 local 192.0.2.1 group 239.1.1.1 dev below dstport 4789 nolearning ttl 9 df set
      link add vx6 type vxlan id 78 local 2001:db8::1 remote 2001:db8::2 dstport 0 srcport 10000 20000 gbp ttl inherit
      link add mv0 link below type macvlan mode vepa
      tuntap add tap0 mode tap user 12 group 34 multi_queue
    `)
    t.match(findLink(socket, 'br0').bridge, {
      priority: 4096,
      helloTime: 300,
      mcastSnooping: false,
      groupAddr: mac('01:80:c2:00:00:04'),
      vlanFiltering: false,
    })
    t.match(findLink(socket, 'vx4').vxlan, {
      id: 77,
      local: address('192.0.2.1'),
      group: address('239.1.1.1'),
      link: shownLink(host, 'below').ifindex,
      port: 4789,
      learning: false,
      ttl: 9,
      df: 'set',
    })
    t.match(findLink(socket, 'vx6').vxlan, {
      local: address('2001:db8::1'),
      group: address('2001:db8::2'),
      portRange: { low: 10000, high: 20000 },
      gbp: true,
      learning: true,
    })
    t.equal(findLink(socket, 'mv0').macvlan?.mode, 'vepa')
    t.match(findLink(socket, 'tap0').tun, { type: 'tap', owner: 12, group: 34, multiQueue: true, persist: true })
  }),
)

t.test('a veth pair is made across two namespaces by one request', t =>
  withRouteSocket(t, (socket, host) => {
    const container = host.createContainer()
    const namespace = openNamespace(container.path)
    const bridge = makeLink(socket, { name: 'br0', kind: 'bridge', up: true })
    addLink(socket, {
      name: 'veth-host',
      kind: 'veth',
      mtu: 1400,
      mac: mac('02:00:00:00:00:02'),
      master: bridge.index,
      up: true,
      peer: { name: 'eth0', mtu: 1400, mac: mac('02:00:00:00:00:03'), namespace: namespace.fd },
    })
    namespace.close()
    t.match(shownLink(host, 'veth-host'), { mtu: 1400, address: '02:00:00:00:00:02', master: 'br0' })
    t.ok(shownLink(host, 'veth-host').flags.includes('UP'))
    t.match(container.show('link', 'show', 'dev', 'eth0'), [{ mtu: 1400, address: '02:00:00:00:00:03' }])
    const inside = openRouteSocket(container)
    const [end, other] = [findLink(inside, 'eth0'), findLink(socket, 'veth-host')]
    inside.close()
    t.same([end.parent, other.parent], [other.index, end.index], 'each knows the other’s index')
    t.type(other.parentNamespaceId, 'number')
  }),
)

/** Waits until the kernel has noticed a carrier, which can take a second; Linux 6.1 does not hurry when it is asked. */
async function operStateIs(socket: NetlinkSocket, index: number, state: unknown): Promise<void> {
  const deadline = Date.now() + 10_000
  while (getLink(socket, { index })?.operState !== state && Date.now() < deadline) await delay(20)
}

t.test('setLink() changes what is asked and nothing else', t =>
  withRouteSocket(t, async (socket, host) => {
    const { index } = makeLink(socket, { name: 'l0', kind: 'veth', peer: { name: 'l1' } })
    const bridge = makeLink(socket, { name: 'br0', kind: 'bridge' })
    const steps: [Parameters<typeof setLink>[1], Record<string, unknown>][] = [
      [{ index, mtu: 1234 }, { mtu: 1234 }],
      [{ index, mac: mac('02:00:00:00:00:09') }, { mac: '02:00:00:00:00:09' }],
      [
        { index, up: true },
        { up: true, operState: 'lowerLayerDown' },
      ],
      [
        { index, promiscuous: true },
        { promiscuous: true, promiscuity: 1 },
      ],
      [{ index, group: 99 }, { group: 99 }],
      [{ index, alias: 'network "n" of c1' }, { alias: 'network "n" of c1' }],
      [{ index, alias: '' }, { alias: undefined }],
      [{ index, txQueueLength: 42 }, { txQueueLength: 42 }],
      [
        { index, promiscuous: false, up: false },
        { promiscuous: false, promiscuity: 0, up: false, operState: 'down' },
      ],
      [{ index, name: 'renamed' }, { name: 'renamed' }],
      [{ name: 'renamed', mtu: 1300 }, { mtu: 1300 }],
    ]
    let expected: Record<string, unknown> = asRead(findLink(socket, 'l0'))
    for (const [changes, effect] of steps) {
      setLink(socket, changes)
      expected = { ...expected, ...effect }
      await operStateIs(socket, index, expected.operState)
      t.same(asRead(getLink(socket, { index }) as Link), expected, JSON.stringify(effect))
      t.same(asShown(shownLink(host, String(expected.name))), expected, 'and ip agrees')
    }
    setLink(socket, { index, master: bridge.index })
    t.equal(shownLink(host, 'renamed').master, 'br0')
    setLink(socket, { index, master: 0 })
    t.equal(shownLink(host, 'renamed').master, undefined)
    setLink(socket, { index: bridge.index, bridge: { mcastSnooping: false, ageingTime: 776 } })
    t.match(shownLink(host, 'br0').linkinfo?.info_data, { mcast_snooping: 0, ageing_time: 776 })
    setLink(socket, { index, arp: false, multicast: false, allMulticast: true })
    t.match(
      shownLink(host, 'renamed')
        .flags.filter(flag => ['NOARP', 'MULTICAST', 'ALLMULTI'].includes(flag))
        .sort(),
      ['ALLMULTI', 'NOARP'],
    )
  }),
)

t.test('a link is moved to another namespace and renamed by one request', t =>
  withRouteSocket(t, (socket, host) => {
    const container = host.createContainer()
    const { index } = makeLink(socket, { name: 'mover', kind: 'veth', peer: { name: 'stays' } })
    const namespace = openNamespace(container.path)
    setLink(socket, { index, name: 'eth7', namespace: namespace.fd })
    namespace.close()
    t.equal(getLink(socket, { name: 'mover' }), undefined)
    t.same(container.links(), ['lo', 'eth7'])
  }),
)

t.test('settings of IPv4 and IPv6 go over netlink, without /proc', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'l0', kind: 'veth', peer: { name: 'l1' } })
    socket.executeAll([
      setLinkRequest({
        index,
        ipv4Conf: { arpNotify: 1, rpFilter: 2, proxyArp: 1 },
        ipv6Conf: { addrGenMode: 'none' },
      }),
      setLinkRequest({ index, up: true }),
      setLinkRequest({ name: 'l1', up: true }),
    ])
    const sysctl = (name: string) => host.output(['cat', `/proc/sys/net/${name}`]).trim()
    t.equal(sysctl('ipv4/conf/l0/arp_notify'), '1')
    t.equal(sysctl('ipv4/conf/l0/rp_filter'), '2')
    t.equal(sysctl('ipv4/conf/l0/proxy_arp'), '1')
    t.equal(sysctl('ipv4/conf/l1/arp_notify'), '0')
    t.equal(sysctl('ipv6/conf/l0/addr_gen_mode'), '1')
    t.match(findLink(socket, 'l0'), { ipv4Conf: { arpNotify: 1, rpFilter: 2 }, ipv6Conf: { addrGenMode: 'none' } })
    t.equal(findLink(socket, 'l0').ipv4Conf?.arpEvictNocarrier, Number(sysctl('ipv4/conf/l0/arp_evict_nocarrier')))
    t.same(host.addresses('l0'), [], 'no link-local address')
    t.throws(
      () => setLinkRequest({ index, up: true, ipv4Conf: { arpNotify: 1 } }),
      TypeError,
      'the kernel’s order is a trap',
    )
  }),
)

t.test('with arp_notify set before, the link announces its address when it comes up', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'l0', kind: 'veth', peer: { name: 'l1' } })
    host.ip('link set l1 up')
    host.ip('addr add 10.0.0.1/24 dev l0')
    socket.executeAll([
      setLinkRequest({ index, ipv4Conf: { arpNotify: 1 }, ipv6Conf: { addrGenMode: 'none' } }),
      setLinkRequest({ index, up: true }),
    ])
    t.ok((findLink(socket, 'l0').statistics?.txPackets ?? 0n) >= 1n)
  }),
)

t.test('kinds that this kernel may lack are made, or refused by name', t =>
  withRouteSocket(t, (socket, host) => {
    const below = makeLink(socket, { name: 'below', kind: 'ifb', up: true })
    const kinds: [NewLink, Record<string, unknown>][] = [
      [{ name: 'dummy0', kind: 'dummy' }, {}],
      [
        { name: 'vlan5', kind: 'vlan', parent: below.index, vlan: { id: 5 } },
        { id: 5, protocol: '802.1Q' },
      ],
      [{ name: 'vrf0', kind: 'vrf', vrf: { table: 100 } }, { table: 100 }],
      [{ name: 'ipvl0', kind: 'ipvlan', parent: below.index, ipvlan: { mode: 'l3' } }, { mode: 'l3' }],
    ]
    for (const [link, expected] of kinds) {
      const [failure] = socket.tryAll([addLinkRequest(link)])
      if (failure === undefined) {
        const settings = Object.keys(expected).length > 0 ? { info_data: expected } : {}
        t.match(shownLink(host, link.name).linkinfo, { info_kind: link.kind, ...settings }, link.kind)
        t.equal(findLink(socket, link.name).kind, link.kind)
      } else {
        t.match(failure, { code: 'EOPNOTSUPP', extAckMessage: 'Unknown device type' }, failure.message)
        t.ok(failure.message.includes(`"${link.kind}"`))
      }
    }
  }),
)
