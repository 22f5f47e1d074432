/** What the kernel answers, read by lib/netlink/route: captured messages with what ip(8) said of the same objects. */

import t from 'tap'
import { formatAddress } from '../../../lib/address/address.ts'
import { formatMac } from '../../../lib/address/mac.ts'
import { formatPrefix } from '../../../lib/address/prefix.ts'
import { decodeAnswer, request } from '../../../lib/netlink/message.ts'
import { addressFormat, decodeAddress } from '../../../lib/netlink/route/addr/address.ts'
import { bridgePortFormat } from '../../../lib/netlink/route/link/bridge-vlan.ts'
import { decodeLink, type Link } from '../../../lib/netlink/route/link/link.ts'
import { linkFormat } from '../../../lib/netlink/route/link/message.ts'
import { neighbourFormat } from '../../../lib/netlink/route/neigh/message.ts'
import { routeFormat } from '../../../lib/netlink/route/route/message.ts'
import { decodeRoute, type Route } from '../../../lib/netlink/route/route/route.ts'
import { decodeRule, ruleFormat } from '../../../lib/netlink/route/rule/rule.ts'
import { address, mac } from '../../netns/netlink-fixture.ts'
import { encoded, onlyMessage, readGolden } from './golden.ts'

const golden = readGolden('replies')

function messages(command: string): Uint8Array<ArrayBuffer>[] {
  const found = golden.get(command)
  if (found === undefined || found.length === 0) throw new Error(`not captured: ${command}`)
  return found
}

const link = (name: string): Link => {
  const [bytes] = messages(`ip link show dev ${name}`)
  if (bytes === undefined) throw new Error(name)
  return decodeLink(decodeAnswer(linkFormat, onlyMessage(bytes)))
}

t.test('a veth that is the port of a bridge, in a group, with an alias and an alternative name', t => {
  t.match(link('base'), {
    index: 10,
    name: 'base',
    kind: 'veth',
    type: 1,
    up: true,
    promiscuous: false,
    promiscuity: 1,
    operState: 'down',
    mtu: 1500,
    minMtu: 68,
    maxMtu: 65535,
    mac: mac('02:00:00:00:00:0a'),
    master: 20,
    bridgePort: { hairpin: true, isolated: true, learning: true, state: 'disabled', priority: 32, cost: 2 },
    parentNamespaceId: 0,
    group: 9,
    alias: 'some-alias',
    alternativeNames: ['a-name-that-is-longer-than-15-bytes'],
    txQueueLength: 1000,
    ipv4Conf: { acceptRedirects: 1, arpNotify: 0, arpEvictNocarrier: 1 },
    ipv6Conf: { addrGenMode: 'eui64' },
  })
  t.equal(link('base').loopback, false)
  t.end()
})

t.test('a bridge', t => {
  t.match(link('bridge'), {
    index: 20,
    kind: 'bridge',
    mtu: 1500,
    bridge: {
      ageingTime: 4000,
      mcastSnooping: false,
      vlanFiltering: false,
      priority: 32768,
      groupAddr: mac('01:80:c2:00:00:00'),
      bridgeId: Uint8Array.of(128, 0, 2, 0, 0, 0, 0, 20),
    },
  })
  t.equal(link('bridge').master, undefined)
  t.end()
})

t.test('VXLAN devices of both families', t => {
  t.match(link('vx4'), {
    kind: 'vxlan',
    vxlan: {
      id: 77,
      local: address('192.0.2.1'),
      group: address('239.1.1.1'),
      link: 20,
      port: 4789,
      ttl: 9,
      ageing: 60,
      learning: false,
    },
  })
  t.match(link('vx6').vxlan, {
    id: 78,
    local: address('2001:db8::1'),
    group: address('2001:db8::2'),
    port: 4790,
    portRange: { low: 10000, high: 20000 },
    gbp: true,
  })
  t.notOk(Object.keys(link('vx6').vxlan ?? {}).some(key => ['group6', 'local6'].includes(key)))
  t.end()
})

t.test('a macvlan, a tap and the loopback interface', t => {
  t.match(link('mv0'), { kind: 'macvlan', parent: 32, macvlan: { mode: 'private' } })
  t.match(link('tap0'), { kind: 'tun', tun: { type: 'tap', owner: 12, persist: true, pi: false } })
  t.match(link('lo'), { index: 1, loopback: true, up: true, operState: 'unknown', type: 772, mtu: 65536 })
  t.equal(link('lo').kind, undefined)
  t.end()
})

t.test('a bridge’s view of its port', t => {
  const [bytes] = messages('bridge -d link show')
  if (bytes === undefined) throw new Error('not captured')
  t.match(decodeAnswer(bridgePortFormat, onlyMessage(bytes)), {
    header: { family: 7, index: 10 },
    attributes: { ifname: 'base', master: 20, protinfo: { hairpin: true, isolated: true, state: 'disabled' } },
  })
  t.end()
})

t.test('addresses', t => {
  const addresses = ['-4', '-6']
    .flatMap(family => messages(`ip ${family} address show`))
    .map(bytes => decodeAddress(decodeAnswer(addressFormat, onlyMessage(bytes))))
  const find = (prefix: string) => addresses.find(one => one && formatPrefix(one.prefix) === prefix)
  t.match(find('127.0.0.1/8'), { index: 1, scope: 254, label: 'lo' })
  t.match(find('10.0.0.1/24'), { index: 20, family: 4, broadcast: address('10.0.0.255'), scope: 0, tentative: false })
  t.equal(find('10.0.0.1/24')?.validSeconds, undefined)
  t.match(find('10.0.2.1/32'), { peer: address('10.0.2.2') })
  t.equal(find('10.0.0.1/24')?.peer, undefined)
  t.match(find('10.0.3.1/24'), { priority: 55 })
  t.ok((find('10.0.3.1/24')?.validSeconds ?? 0) > 99_000)
  t.match(find('2001:db8::1/64'), { index: 20, family: 6, flags: 0x82, dadFailed: false })
  t.match(find('::1/128'), { index: 1, scope: 254 })
  t.end()
})

t.test('routes', t => {
  const routes = ['-4', '-6']
    .flatMap(family => messages(`ip ${family} route show table all`))
    .map(bytes => decodeRoute(decodeAnswer(routeFormat, onlyMessage(bytes))))
    .filter((route): route is Route => route !== undefined)
  const find = (prefix: string, table = 254) =>
    routes.find(one => formatPrefix(one.destination) === prefix && one.table === table)
  t.match(find('0.0.0.0/0'), {
    index: 20,
    gateway: address('10.0.0.2'),
    priority: 7,
    metrics: { mtu: 1300, advmss: 1200 },
    type: 'unicast',
    protocol: 3,
  })
  t.match(find('192.0.2.0/24', 300), { gateway: address('10.0.0.2'), table: 300 })
  t.match(find('10.9.0.0/16'), { type: 'blackhole' })
  t.equal(find('10.9.0.0/16')?.index, undefined)
  t.match(find('10.10.0.0/16'), { onLink: true, gateway: address('172.31.0.1') })
  t.match(find('10.11.0.0/16'), { gateway: address('2001:db8::9'), family: 4 })
  t.match(find('203.0.113.0/24'), {
    nextHops: [
      { index: 20, gateway: address('10.0.0.2'), weight: 3 },
      { index: 20, gateway: address('10.0.3.2'), weight: 1 },
    ],
  })
  t.match(find('10.0.0.0/24'), { scope: 253, protocol: 2, preferredSource: address('10.0.0.1') })
  t.match(find('10.0.0.1/32', 255), { type: 'local', scope: 254 })
  t.match(find('::/0'), { gateway: address('2001:db8::2'), priority: 1024, family: 6 })
  t.match(find('2001:db8:a::/48')?.nextHops, [{ index: 20 }, { index: 32 }])
  t.end()
})

t.test('neighbours and forwarding entries', t => {
  const read = (command: string) => messages(command).map(bytes => decodeAnswer(neighbourFormat, onlyMessage(bytes)))
  const neighbours = read('ip neigh show nud all').map(({ header, attributes }) => ({
    index: header.index,
    state: header.state,
    flags: header.flags,
    address: attributes.dst && formatAddress(attributes.dst),
    mac: attributes.lladdr && formatMac(attributes.lladdr),
  }))
  t.match(
    neighbours.find(one => one.address === '10.0.0.9'),
    { index: 20, state: 0x80, mac: '02:00:00:00:00:09' },
  )
  t.match(
    neighbours.find(one => one.address === '2001:db8::9'),
    { state: 0x04, flags: 0x80 },
  )
  t.match(read('ip neigh show proxy'), [{ header: { flags: 0x08 }, attributes: { dst: address('10.0.0.5') } }])
  const entries = read('bridge fdb show')
  t.match(
    entries.find(one => one.attributes.port === 4790),
    { header: { index: 30, flags: 2, state: 0xc0 }, attributes: { dst: address('192.0.2.3') } },
  )
  t.end()
})

t.test('rules', t => {
  const rules = messages('ip -4 rule show').map(bytes => decodeRule(decodeAnswer(ruleFormat, onlyMessage(bytes))))
  const find = (priority: number) => rules.find(one => one?.priority === priority)
  t.match(find(0), { table: 255, action: 'lookup' })
  t.match(find(100), { table: 300, source: { length: 24 }, invert: false })
  t.match(find(102), { mark: 0x10, mask: 0xf0, action: 'blackhole' })
  t.match(find(103), { invert: true, action: 'unreachable' })
  t.match(find(105), { table: 254, suppressPrefixLength: 0 })
  t.equal(find(100)?.suppressPrefixLength, undefined)
  t.match(find(106), { ipProtocol: 6, destinationPorts: { first: 1000, last: 2000 }, users: { first: 5, last: 6 } })
  t.end()
})

t.test('what was read of any captured message is written and read again as it was', t => {
  const formats = {
    link: linkFormat,
    address: addressFormat,
    route: routeFormat,
    neigh: neighbourFormat,
    fdb: neighbourFormat,
    rule: ruleFormat,
  }
  for (const [command, captured] of [...golden, ...readGolden('requests')]) {
    const [program, object = ''] = command.split(' ').filter(word => !word.startsWith('-'))
    const format = program === 'bridge' && object !== 'fdb' ? bridgePortFormat : formats[object as keyof typeof formats]
    for (const bytes of captured) {
      const { type, header, attributes } = decodeAnswer(format as typeof ruleFormat, onlyMessage(bytes))
      // The kernel reports a link's IPv4 settings in another form than that in which it takes them.
      const { afSpec: _, ...rest } = attributes as { afSpec?: object }
      const values = program === 'ip' ? rest : attributes
      const again = encoded(
        request(format as typeof ruleFormat, { type, operation: command, header, attributes: values }),
      )
      t.same(
        decodeAnswer(format as typeof ruleFormat, onlyMessage(again)),
        { type, header, attributes: values },
        command,
      )
    }
  }
  t.end()
})
