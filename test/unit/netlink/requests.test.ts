/**
 * Requests of lib/netlink/route against those that iproute2 sends for the same. Long, and one subject: a table with an entry
 * for each captured request.
 */

import t from 'tap'
import type { AttributeTable, Codec } from '../../../lib/netlink/codec.ts'
import { decodeAnswer, type MessageFormat, NLM_F, type Request } from '../../../lib/netlink/message.ts'
import { addressFormat } from '../../../lib/netlink/route/addr/address.ts'
import {
  addAddressRequest,
  deleteAddressRequest,
  replaceAddressRequest,
} from '../../../lib/netlink/route/addr/index.ts'
import { bridgePortFormat } from '../../../lib/netlink/route/link/bridge-vlan.ts'
import {
  addAlternativeNamesRequest,
  addBridgeVlansRequest,
  addLinkRequest,
  deleteAlternativeNamesRequest,
  deleteBridgeVlansRequest,
  deleteLinkRequest,
  setLinkRequest,
} from '../../../lib/netlink/route/link/index.ts'
import { linkFormat } from '../../../lib/netlink/route/link/message.ts'
import {
  addForwardingEntryRequest,
  addNeighbourRequest,
  appendForwardingEntryRequest,
  deleteForwardingEntryRequest,
  deleteNeighbourRequest,
  replaceForwardingEntryRequest,
  replaceNeighbourRequest,
} from '../../../lib/netlink/route/neigh/index.ts'
import { neighbourFormat } from '../../../lib/netlink/route/neigh/message.ts'
import {
  addRouteRequest,
  appendRouteRequest,
  deleteRouteRequest,
  replaceRouteRequest,
} from '../../../lib/netlink/route/route/index.ts'
import { routeFormat } from '../../../lib/netlink/route/route/message.ts'
import { addRuleRequest, deleteRuleRequest } from '../../../lib/netlink/route/rule/index.ts'
import { ruleFormat } from '../../../lib/netlink/route/rule/rule.ts'
import { address, mac, prefix } from '../../netns/netlink-fixture.ts'
import { encoded, onlyMessage, readGolden } from './golden.ts'

type Format = MessageFormat<unknown, AttributeTable<Readonly<Record<string, readonly [number, Codec<never>]>>>>

const [base, bridge] = [10, 20]
/** The descriptor by which ip knew the namespace "other". */
const other = 4

const four = address('10.0.0.1')
const six = address('2001:db8::1')
const subnet = prefix('192.0.2.0/24')
const station = mac('02:00:00:00:00:05')

const links: Readonly<Record<string, Request>> = {
  'ip link add br0 mtu 1400 address 02:00:00:00:00:01 type bridge vlan_filtering 1 vlan_default_pvid 0 mcast_snooping 0 ageing_time 4000 forward_delay 400 stp_state 0':
    addLinkRequest({
      name: 'br0',
      kind: 'bridge',
      mtu: 1400,
      mac: mac('02:00:00:00:00:01'),
      bridge: {
        vlanFiltering: true,
        vlanDefaultPvid: 0,
        mcastSnooping: false,
        ageingTime: 4000,
        forwardDelay: 400,
        stpState: 0,
      },
    }),
  'ip link add name veth0 mtu 1400 address 02:00:00:00:00:02 master bridge up type veth peer name eth0 address 02:00:00:00:00:03 mtu 1400 netns other':
    addLinkRequest({
      name: 'veth0',
      kind: 'veth',
      mtu: 1400,
      mac: mac('02:00:00:00:00:02'),
      master: bridge,
      up: true,
      peer: { name: 'eth0', mac: mac('02:00:00:00:00:03'), mtu: 1400, namespace: other },
    }),
  'ip link add vx0 type vxlan id 77 local 192.0.2.1 group 239.1.1.1 dev base dstport 4789 ttl 9 ageing 60 nolearning':
    addLinkRequest({
      name: 'vx0',
      kind: 'vxlan',
      vxlan: {
        id: 77,
        local: address('192.0.2.1'),
        group: address('239.1.1.1'),
        link: base,
        port: 4789,
        ttl: 9,
        ageing: 60,
        learning: false,
      },
    }),
  'ip link add vx6 type vxlan id 78 local 2001:db8::1 remote 2001:db8::2 dstport 4790 srcport 10000 20000 udp6zerocsumtx gbp':
    addLinkRequest({
      name: 'vx6',
      kind: 'vxlan',
      vxlan: {
        id: 78,
        local: six,
        group: address('2001:db8::2'),
        port: 4790,
        portRange: { low: 10000, high: 20000 },
        udpZeroCsum6Tx: true,
        gbp: true,
        learning: true,
      },
    }),
  'ip link add mv0 link base address 02:00:00:00:00:04 type macvlan mode private bcqueuelen 55': addLinkRequest({
    name: 'mv0',
    kind: 'macvlan',
    parent: base,
    mac: mac('02:00:00:00:00:04'),
    macvlan: { mode: 'private', bcQueueLen: 55 },
  }),
  'ip link add vl5 link base type vlan id 5': addLinkRequest({
    name: 'vl5',
    kind: 'vlan',
    parent: base,
    vlan: { id: 5 },
  }),
  'ip link add vl6 link base type vlan protocol 802.1ad id 6': addLinkRequest({
    name: 'vl6',
    kind: 'vlan',
    parent: base,
    vlan: { id: 6, protocol: 0x88a8 },
  }),
  'ip link add du0 type dummy': addLinkRequest({ name: 'du0', kind: 'dummy' }),
  'ip link add vrf0 type vrf table 100': addLinkRequest({ name: 'vrf0', kind: 'vrf', vrf: { table: 100 } }),
  'ip link add iv0 link base type ipvlan mode l3s': addLinkRequest({
    name: 'iv0',
    kind: 'ipvlan',
    parent: base,
    ipvlan: { mode: 'l3s', flags: 0 },
  }),
  'ip link add if0 numtxqueues 3 txqueuelen 7 group 9 type ifb': addLinkRequest({
    name: 'if0',
    kind: 'ifb',
    numTxQueues: 3,
    txQueueLength: 7,
    group: 9,
  }),
  'ip link set dev base up': setLinkRequest({ index: base, up: true }),
  'ip link set dev base down': setLinkRequest({ index: base, up: false }),
  'ip link set dev base promisc on': setLinkRequest({ index: base, promiscuous: true }),
  'ip link set dev base mtu 1234 address 02:00:00:00:00:05': setLinkRequest({ index: base, mtu: 1234, mac: station }),
  'ip link set dev base name renamed': setLinkRequest({ index: base, name: 'renamed' }),
  'ip link set dev base master bridge': setLinkRequest({ index: base, master: bridge }),
  'ip link set dev base nomaster': setLinkRequest({ index: base, master: 0 }),
  'ip link set dev base alias some-alias': setLinkRequest({ index: base, alias: 'some-alias' }),
  'ip link set dev base netns other': setLinkRequest({ index: base, namespace: other }),
  'ip link set dev bridge type bridge vlan_filtering 1': setLinkRequest({
    index: bridge,
    bridge: { vlanFiltering: true },
  }),
  'ip link set dev base type bridge_slave hairpin on isolated on': setLinkRequest({
    index: base,
    bridgePort: { hairpin: true, isolated: true },
  }),
  'ip link set dev base addrgenmode none': setLinkRequest({ index: base, ipv6Conf: { addrGenMode: 'none' } }),
  'ip link property add dev base altname a-name-that-is-longer-than-15-bytes': addAlternativeNamesRequest(base, [
    'a-name-that-is-longer-than-15-bytes',
  ]),
  'ip link property del dev base altname a-name-that-is-longer-than-15-bytes': deleteAlternativeNamesRequest(base, [
    'a-name-that-is-longer-than-15-bytes',
  ]),
  'ip link delete dev base': deleteLinkRequest({ index: base }),
  'ip link delete group 9': deleteLinkRequest({ group: 9 }),
}

const vlans: Readonly<Record<string, Request>> = {
  'bridge vlan add dev base vid 5 pvid untagged': addBridgeVlansRequest({
    index: base,
    vlans: [{ id: 5, pvid: true, untagged: true }],
  }),
  'bridge vlan add dev base vid 10-20': addBridgeVlansRequest({ index: base, vlans: [{ id: 10, lastId: 20 }] }),
  'bridge vlan add dev bridge vid 5 self': addBridgeVlansRequest({ index: bridge, self: true, vlans: [{ id: 5 }] }),
  'bridge vlan del dev base vid 5': deleteBridgeVlansRequest({ index: base, vlans: [{ id: 5 }] }),
}

const addresses: Readonly<Record<string, Request>> = {
  'ip address add 10.0.0.1/24 broadcast + dev base': addAddressRequest({ index: base, prefix: prefix('10.0.0.1/24') }),
  'ip address add 10.0.1.1/24 scope link dev base': addAddressRequest({
    index: base,
    prefix: prefix('10.0.1.1/24'),
    scope: 253,
    broadcast: false,
  }),
  'ip address add 10.0.2.1 peer 10.0.2.2/32 dev base': addAddressRequest({
    index: base,
    prefix: prefix('10.0.2.1/32'),
    peer: address('10.0.2.2'),
  }),
  'ip address add 10.0.4.1/24 broadcast + dev base valid_lft 600 preferred_lft 300 metric 55': addAddressRequest({
    index: base,
    prefix: prefix('10.0.4.1/24'),
    validSeconds: 600,
    preferredSeconds: 300,
    priority: 55,
  }),
  'ip address add 2001:db8::1/64 dev base nodad': addAddressRequest({
    index: base,
    prefix: prefix('2001:db8::1/64'),
    noDad: true,
  }),
  'ip address replace 2001:db8::1/64 dev base nodad noprefixroute': replaceAddressRequest({
    index: base,
    prefix: prefix('2001:db8::1/64'),
    noDad: true,
    noPrefixRoute: true,
  }),
  'ip address delete 10.0.0.1/24 dev base': deleteAddressRequest({ index: base, prefix: prefix('10.0.0.1/24') }),
}

const routes: Readonly<Record<string, Request>> = {
  'ip route add default via 10.0.0.1 dev base mtu 1300 advmss 1200 metric 7': addRouteRequest({
    destination: prefix('0.0.0.0/0'),
    gateway: four,
    index: base,
    mtu: 1300,
    advmss: 1200,
    priority: 7,
  }),
  'ip route add 192.0.2.0/24 via 10.0.0.1 table 300': addRouteRequest({
    destination: subnet,
    gateway: four,
    table: 300,
  }),
  'ip route add 198.51.100.0/24 dev base scope link': addRouteRequest({
    destination: prefix('198.51.100.0/24'),
    index: base,
  }),
  'ip route add 198.51.102.0/24 dev base src 10.0.0.2': addRouteRequest({
    destination: prefix('198.51.102.0/24'),
    index: base,
    preferredSource: address('10.0.0.2'),
  }),
  'ip route add blackhole 10.9.0.0/16': addRouteRequest({ destination: prefix('10.9.0.0/16'), type: 'blackhole' }),
  'ip route add 10.10.0.0/16 via 172.31.0.1 dev base onlink': addRouteRequest({
    destination: prefix('10.10.0.0/16'),
    gateway: address('172.31.0.1'),
    index: base,
    onLink: true,
  }),
  'ip route add 10.11.0.0/16 via inet6 2001:db8::1 dev base': addRouteRequest({
    destination: prefix('10.11.0.0/16'),
    gateway: six,
    index: base,
  }),
  'ip route add 203.0.113.0/24 nexthop via 10.0.0.1 dev base weight 3 nexthop via 10.0.1.1 dev bridge': addRouteRequest(
    {
      destination: prefix('203.0.113.0/24'),
      nextHops: [
        { index: base, gateway: four, weight: 3 },
        { index: bridge, gateway: address('10.0.1.1') },
      ],
    },
  ),
  'ip route replace 192.0.2.0/24 via 10.0.0.1 dev base': replaceRouteRequest({
    destination: subnet,
    gateway: four,
    index: base,
  }),
  'ip route append 192.0.2.0/24 via 10.0.0.1 dev base': appendRouteRequest({
    destination: subnet,
    gateway: four,
    index: base,
  }),
  'ip -6 route add default via 2001:db8::1 dev base': addRouteRequest({
    destination: prefix('::/0'),
    gateway: six,
    index: base,
  }),
  'ip -6 route add unreachable 2001:db8:a::/48': addRouteRequest({
    destination: prefix('2001:db8:a::/48'),
    type: 'unreachable',
  }),
  'ip route delete 192.0.2.0/24 metric 50 table 77': deleteRouteRequest({
    destination: subnet,
    priority: 50,
    table: 77,
  }),
}

const neighbours: Readonly<Record<string, Request>> = {
  'ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev base': addNeighbourRequest({
    index: base,
    address: address('10.0.0.9'),
    mac: mac('02:00:00:00:00:09'),
  }),
  'ip neigh replace 2001:db8::9 lladdr 02:00:00:00:00:09 dev base router nud stale': replaceNeighbourRequest({
    index: base,
    address: address('2001:db8::9'),
    mac: mac('02:00:00:00:00:09'),
    router: true,
    state: 'stale',
  }),
  'ip neigh add proxy 10.0.0.5 dev base': addNeighbourRequest({
    index: base,
    address: address('10.0.0.5'),
    proxy: true,
  }),
  'ip neigh delete 10.0.0.9 dev base': deleteNeighbourRequest({ index: base, address: address('10.0.0.9') }),
  'bridge fdb append 00:00:00:00:00:00 dst 192.0.2.1 dev base': appendForwardingEntryRequest({
    index: base,
    mac: mac('00:00:00:00:00:00'),
    destination: address('192.0.2.1'),
  }),
  'bridge fdb add 02:00:00:00:00:05 dev base dst 192.0.2.3 vni 77 port 4790 via bridge': addForwardingEntryRequest({
    index: base,
    mac: station,
    destination: address('192.0.2.3'),
    vni: 77,
    port: 4790,
    outgoingIndex: bridge,
  }),
  'bridge fdb replace 02:00:00:00:00:05 dev base dst 2001:db8::4': replaceForwardingEntryRequest({
    index: base,
    mac: station,
    destination: address('2001:db8::4'),
  }),
  'bridge fdb add 02:00:00:00:00:06 dev base master static': addForwardingEntryRequest({
    index: base,
    mac: mac('02:00:00:00:00:06'),
    table: 'master',
    lifetime: 'static',
  }),
  'bridge fdb add 02:00:00:00:00:07 dev base master dynamic vlan 5': addForwardingEntryRequest({
    index: base,
    mac: mac('02:00:00:00:00:07'),
    table: 'master',
    lifetime: 'dynamic',
    vlan: 5,
  }),
  'bridge fdb delete 02:00:00:00:00:05 dev base': deleteForwardingEntryRequest({ index: base, mac: station }),
}

const rules: Readonly<Record<string, Request>> = {
  'ip rule add priority 100 from 10.0.0.0/24 lookup 300': addRuleRequest({
    priority: 100,
    source: prefix('10.0.0.0/24'),
    table: 300,
  }),
  'ip -6 rule add priority 101 to 2001:db8::/48 iif lo lookup 12': addRuleRequest({
    priority: 101,
    destination: prefix('2001:db8::/48'),
    incomingInterface: 'lo',
    table: 12,
  }),
  'ip rule add priority 102 fwmark 0x10/0xf0 blackhole': addRuleRequest({
    priority: 102,
    family: 4,
    mark: 0x10,
    mask: 0xf0,
    action: 'blackhole',
  }),
  'ip rule add priority 103 not from 10.0.0.0/8 unreachable': addRuleRequest({
    priority: 103,
    source: prefix('10.0.0.0/8'),
    invert: true,
    action: 'unreachable',
  }),
  'ip rule add priority 105 lookup main suppress_prefixlength 0': addRuleRequest({
    priority: 105,
    family: 4,
    suppressPrefixLength: 0,
  }),
  'ip rule add priority 106 ipproto tcp dport 1000-2000 uidrange 5-6 lookup 9': addRuleRequest({
    priority: 106,
    family: 4,
    ipProtocol: 6,
    destinationPorts: { first: 1000, last: 2000 },
    users: { first: 5, last: 6 },
    table: 9,
  }),
  'ip rule delete priority 100 from 10.0.0.0/24 lookup 300': deleteRuleRequest({
    priority: 100,
    source: prefix('10.0.0.0/24'),
    table: 300,
  }),
}

interface Meaning {
  readonly type: number
  readonly flags: number
  readonly header: Record<string, unknown>
  readonly attributes: Record<string, unknown>
}

/** What a message means: order of attributes, padding and NLA_F_NESTED do not matter. */
function meaning(format: Format, bytes: Uint8Array<ArrayBuffer>): Meaning {
  const message = onlyMessage(bytes)
  const { type, header, attributes } = decodeAnswer(format, message)
  return {
    type,
    flags: message.flags & ~NLM_F.ACK,
    header: header as Record<string, unknown>,
    attributes: JSON.parse(JSON.stringify(attributes)),
  }
}

/** What iproute2 says otherwise, or says in vain. */
const differences: Readonly<Record<string, (sent: Meaning) => Meaning>> = {
  // The kernel goes by the kind of the master, whatever the kind of the link is said to be.
  'ip link set dev base type bridge_slave hairpin on isolated on': sent => ({
    ...sent,
    attributes: { linkinfo: { slaveKind: 'bridge', slaveData: { hairpin: true, isolated: true } } },
  }),
  // An address of no bits.
  'ip -6 route add default via 2001:db8::1 dev base': sent => {
    const { dst: _, ...attributes } = sent.attributes
    return { ...sent, attributes }
  },
  // The state of what is deleted.
  'ip neigh delete 10.0.0.9 dev base': sent => ({ ...sent, header: { ...sent.header, state: 0 } }),
}

const golden = readGolden('requests')
const compared = new Set<string>()

for (const [format, requests] of [
  [linkFormat, links],
  [bridgePortFormat, vlans],
  [addressFormat, addresses],
  [routeFormat, routes],
  [neighbourFormat, neighbours],
  [ruleFormat, rules],
] as unknown as [Format, Readonly<Record<string, Request>>][]) {
  for (const [command, request] of Object.entries(requests)) {
    t.test(command, t => {
      compared.add(command)
      const [bytes] = golden.get(command) ?? []
      if (bytes === undefined) throw new Error('not captured')
      const sent = meaning(format, bytes)
      t.same(meaning(format, encoded(request)), differences[command]?.(sent) ?? sent)
      t.end()
    })
  }
}

t.test('every captured request is compared', t => {
  t.same(
    [...golden.keys()].filter(command => !compared.has(command)),
    [],
  )
  t.end()
})
