/** Neighbours and rules over netlink, with ip-neighbour(8) and ip-rule(8) as the witnesses. */

import t from 'tap'
import { addLink, setLink } from '../../lib/netlink/route/link/index.ts'
import {
  addNeighbour,
  addNeighbourRequest,
  deleteNeighbour,
  listNeighbours,
  type Neighbour,
  replaceNeighbour,
} from '../../lib/netlink/route/neigh/index.ts'
import { addRule, addRuleRequest, deleteRule, listRules, type Rule } from '../../lib/netlink/route/rule/index.ts'
import type { Host } from '../harness/index.ts'
import {
  address,
  findLink,
  ip,
  mac,
  makeLink,
  prefix,
  refusal,
  sorted,
  text,
  withRouteSocket,
} from './netlink-fixture.ts'

interface ShownNeighbour {
  readonly dst: string
  readonly dev: string
  readonly lladdr?: string
  readonly state?: readonly string[]
  readonly router?: null
  readonly proxy?: null
  readonly extern_learn?: null
}

const asShown = (one: ShownNeighbour) => ({
  address: one.dst,
  mac: one.lladdr,
  state: one.state?.[0]?.toLowerCase(),
  router: 'router' in one,
  extLearned: 'extern_learn' in one,
})

const asRead = (one: Neighbour) => ({
  address: text.address(one.address),
  mac: text.mac(one.mac),
  state: one.state,
  router: one.router,
  extLearned: one.extLearned,
})

const neighbours = (host: Host, ...words: string[]) => host.show<ShownNeighbour[]>('neigh', 'show', ...words)

t.test('neighbours are added, read, replaced and deleted', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'veth', up: true, peer: { name: 'd1' } })
    setLink(socket, { name: 'd1', up: true })
    const one = { index, address: address('10.0.0.9'), mac: mac('02:00:00:00:00:09') }
    socket.executeAll([
      addNeighbourRequest(one),
      addNeighbourRequest({ ...one, address: address('2001:db8::9'), router: true }),
      addNeighbourRequest({ ...one, address: address('10.0.0.10'), state: 'stale' }),
      addNeighbourRequest({ ...one, address: address('10.0.0.11'), state: 'noarp', extLearned: true }),
    ])
    // The kernel makes entries for multicast addresses meanwhile.
    const given = ({ address }: { address?: string | undefined }) =>
      !address?.startsWith('ff') && !address?.startsWith('224.')
    const read = listNeighbours(socket, { index }).map(asRead).filter(given)
    t.equal(read.length, 4)
    t.same(sorted(read), sorted(neighbours(host, 'nud', 'all', 'dev', 'd0').map(asShown).filter(given)))
    const error = refusal(() => addNeighbour(socket, one))
    t.match(error, { code: 'EEXIST', operation: `add neighbour 10.0.0.9 on link ${index}` }, error.message)
    replaceNeighbour(socket, { ...one, mac: mac('02:00:00:00:00:aa') })
    t.match(neighbours(host, '10.0.0.9'), [{ lladdr: '02:00:00:00:00:aa', state: ['PERMANENT'] }])
    t.equal(deleteNeighbour(socket, one), true)
    t.equal(deleteNeighbour(socket, one, { missing: 'ignore' }), false)
    t.equal(deleteNeighbour(socket, { ...one, index: 9999 }, { missing: 'ignore' }), false)
    t.match(
      refusal(() => deleteNeighbour(socket, one)),
      { code: 'ENOENT' },
    )
    t.same(neighbours(host, '10.0.0.9'), [])
  }),
)

t.test('proxy entries are apart from the others', t =>
  withRouteSocket(t, (socket, host) => {
    const { index } = makeLink(socket, { name: 'd0', kind: 'veth', up: true, peer: { name: 'd1' } })
    addNeighbour(socket, { index, address: address('10.0.0.5'), proxy: true })
    addNeighbour(socket, { index, address: address('2001:db8::5'), proxy: true })
    t.same(
      host
        .show<ShownNeighbour[]>('neigh', 'show', 'proxy')
        .map(one => one.dst)
        .sort(),
      ['10.0.0.5', '2001:db8::5'],
    )
    t.same(
      listNeighbours(socket, { index, proxy: true })
        .map(one => text.address(one.address))
        .sort(),
      ['10.0.0.5', '2001:db8::5'],
    )
    t.same(listNeighbours(socket, { index, family: 4 }), [])
    t.equal(deleteNeighbour(socket, { index, address: address('10.0.0.5'), proxy: true }), true)
    t.equal(listNeighbours(socket, { proxy: true }).length, 1)
  }),
)

t.test('filters are the kernel’s own: link, family, bridge', t =>
  withRouteSocket(t, socket => {
    const bridge = makeLink(socket, { name: 'br0', kind: 'bridge', up: true })
    addLink(socket, { name: 'p0', kind: 'veth', master: bridge.index, up: true, peer: { name: 'p0c' } })
    const port = findLink(socket, 'p0').index
    const other = makeLink(socket, { name: 'd0', kind: 'veth', up: true, peer: { name: 'd1' } }).index
    for (const [link, last] of [
      [port, 1],
      [other, 2],
    ] as const)
      for (const text of [`10.0.0.${last}`, `2001:db8::${last}`])
        addNeighbour(socket, { index: link, address: address(text), mac: mac('02:00:00:00:00:01') })
    // The kernel has entries of its own for multicast addresses.
    const found = (filter: Parameters<typeof listNeighbours>[1]) =>
      listNeighbours(socket, filter)
        .filter(one => one.state === 'permanent')
        .map(one => text.address(one.address))
        .sort()
    t.same(found({}), ['10.0.0.1', '10.0.0.2', '2001:db8::1', '2001:db8::2'])
    t.same(found({ index: other }), ['10.0.0.2', '2001:db8::2'])
    t.same(found({ family: 6 }), ['2001:db8::1', '2001:db8::2'])
    t.same(found({ index: port, family: 4 }), ['10.0.0.1'])
    t.same(found({ master: bridge.index }), ['10.0.0.1', '2001:db8::1'])
  }),
)

interface ShownRule {
  readonly priority: number
  readonly src: string
  readonly srclen?: number
  readonly dst?: string
  readonly dstlen?: number
  readonly iif?: string
  readonly oif?: string
  readonly fwmark?: string
  readonly fwmask?: string
  readonly table?: string
  readonly action?: string
  readonly goto?: number
  readonly not?: null
  readonly suppress_prefixlen?: number
  readonly sport?: number
  readonly dport_start?: number
}

const tables: Readonly<Record<string, number>> = { local: 255, main: 254, default: 253 }
const full = (family: 4 | 6) => (family === 4 ? 32 : 128)

const ruleShown = (family: 4 | 6) => (one: ShownRule) => ({
  priority: one.priority,
  source: one.src === 'all' ? undefined : `${one.src}/${one.srclen ?? full(family)}`,
  destination: one.dst === undefined ? undefined : `${one.dst}/${one.dstlen ?? full(family)}`,
  incomingInterface: one.iif,
  outgoingInterface: one.oif,
  mark: one.fwmark === undefined ? undefined : Number(one.fwmark),
  mask: one.fwmask === undefined ? undefined : Number(one.fwmask),
  table: one.table === undefined ? 0 : (tables[one.table] ?? Number(one.table)),
  action: one.goto !== undefined ? 'goto' : (one.action ?? 'lookup'),
  invert: 'not' in one,
  suppressPrefixLength: one.suppress_prefixlen,
})

const ruleRead = (one: Rule) => ({
  priority: one.priority,
  source: text.prefix(one.source),
  destination: text.prefix(one.destination),
  incomingInterface: one.incomingInterface,
  outgoingInterface: one.outgoingInterface,
  mark: one.mark,
  mask: one.mask,
  table: one.table,
  action: one.action,
  invert: one.invert,
  suppressPrefixLength: one.suppressPrefixLength,
})

const rules = (host: Host, family: 4 | 6) => host.show<ShownRule[]>(`-${family}`, 'rule', 'show')

t.test('what is read of every rule is what ip shows', t =>
  withRouteSocket(t, (socket, host) => {
    for (const [family, source, destination] of [
      [4, '10.0.0.0/24', '192.0.2.1/32'],
      [6, '2001:db8::/48', '2001:db8:1::1/128'],
    ] as const) {
      ip(
        host,
        family,
        `
        rule add priority 100 from ${source} lookup 300
        rule add priority 101 to ${destination} iif lo oif lo lookup 12
        rule add priority 102 fwmark 0x10/0xf0 blackhole
        rule add priority 103 not from ${source} unreachable
        rule add priority 104 prohibit
        rule add priority 105 from ${source} goto 32766
        rule add priority 106 lookup main suppress_prefixlength 0
      `,
      )
      t.same(listRules(socket, { family }).map(ruleRead), rules(host, family).map(ruleShown(family)))
    }
    t.equal(listRules(socket).length, rules(host, 4).length + rules(host, 6).length)
    t.match(listRules(socket, { family: 4, table: 300 }), [{ priority: 100 }])
    t.match(listRules(socket, { family: 4, priority: 105 }), [{ action: 'goto', goto: 32766 }])
  }),
)

t.test('rules are added as ip would add them, and deleted', t =>
  withRouteSocket(t, (socket, host) => {
    const ports = { first: 1000, last: 2000 }
    socket.executeAll([
      addRuleRequest({ priority: 100, source: prefix('10.0.0.0/24'), table: 300 }),
      addRuleRequest({ priority: 101, destination: prefix('2001:db8::/48'), table: 12 }),
      addRuleRequest({ priority: 102, family: 4, mark: 0x10, mask: 0xf0, action: 'blackhole' }),
      addRuleRequest({ priority: 103, family: 4, invert: true, source: prefix('10.0.0.0/8'), action: 'unreachable' }),
      addRuleRequest({ priority: 104, family: 6, incomingInterface: 'lo', action: 'goto', goto: 32766 }),
      addRuleRequest({ priority: 105, family: 4, suppressPrefixLength: 0 }),
      addRuleRequest({
        priority: 106,
        family: 4,
        ipProtocol: 6,
        destinationPorts: ports,
        users: { first: 5, last: 6 },
        table: 9,
      }),
    ])
    t.match(rules(host, 4), [
      { priority: 0 },
      { priority: 100, src: '10.0.0.0', srclen: 24, table: '300' },
      { priority: 102, fwmark: '0x10', fwmask: '0xf0', action: 'blackhole' },
      { priority: 103, not: null, action: 'unreachable' },
      { priority: 105, table: 'main', suppress_prefixlen: 0 },
      { priority: 106, ipproto: 'tcp', dport_start: 1000, dport_end: 2000, uid_start: 5, uid_end: 6, table: '9' },
      { priority: 32766 },
      {},
    ])
    t.match(rules(host, 6), [
      {},
      { priority: 101, dst: '2001:db8::', dstlen: 48 },
      { priority: 104, iif: 'lo', goto: 32766 },
      {},
    ])
    t.match(listRules(socket, { family: 4, priority: 106 }), [
      { destinationPorts: ports, ipProtocol: 6, users: { first: 5, last: 6 } },
    ])

    const rule = { priority: 100, source: prefix('10.0.0.0/24'), table: 300 }
    const error = refusal(() => addRule(socket, rule))
    t.match(error, { code: 'EEXIST', operation: 'add IPv4 rule 100: from 10.0.0.0/24 lookup 300' }, error.message)
    t.equal(deleteRule(socket, rule), true)
    t.equal(deleteRule(socket, rule, { missing: 'ignore' }), false)
    t.match(
      refusal(() => deleteRule(socket, rule)),
      { code: 'ENOENT' },
    )
    t.equal(deleteRule(socket, { family: 4, priority: 102 }), true, 'by its priority alone')
    t.same(
      listRules(socket, { family: 4 }).map(one => one.priority),
      [0, 103, 105, 106, 32766, 32767],
    )
    t.throws(() => addRuleRequest({ priority: 5 }), TypeError, 'a rule of no family')
  }),
)
