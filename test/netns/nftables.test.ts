/**
 * lib/netlink/netfilter against the kernel, with nft as the witness. Long, and one subject: half of it is the ruleset that
 * all of its tests send, read and change.
 */

import t from 'tap'
import { NetlinkError } from '../../lib/netlink/error.ts'
import { applyBatch, rulesetGeneration } from '../../lib/netlink/netfilter/batch.ts'
import { chainFormat, createChain, deleteChain, getChain, Priority } from '../../lib/netlink/netfilter/chain.ts'
import {
  createElements,
  deleteElements,
  elementFormat,
  elementsOf,
  getElement,
  listElements,
  type SetElement,
} from '../../lib/netlink/netfilter/element.ts'
import { type Expression, express } from '../../lib/netlink/netfilter/expression-attributes.ts'
import {
  address,
  addressInNetwork,
  compare,
  counter,
  inSet,
  masquerade,
  meta,
  ofFamily,
  verdict,
  verdictMap,
} from '../../lib/netlink/netfilter/expressions.ts'
import { createRule, deleteRule, listRules, ruleFormat } from '../../lib/netlink/netfilter/rule.ts'
import { createSet, deleteSet, listSets, type SetType, setFormat } from '../../lib/netlink/netfilter/set.ts'
import { createTable, deleteTable, getTable, tableFormat } from '../../lib/netlink/netfilter/table.ts'
import { commentOf } from '../../lib/netlink/netfilter/userdata.ts'
import { encodeText } from '../../lib/sys/bytes.ts'
import { type Host, withHost } from '../harness/index.ts'
import { countingMessages, matchesGolden, prefix, ruleset, rulesetJson, withNetfilter } from './firewall-fixture.ts'

const table = { family: 'inet', table: 'everything' } as const
const inChain = (chain: string) => ({ ...table, chain })
const inTable = (set: string) => ({ ...table, set })

const ip = (text: string): Uint8Array => prefix(`${text}/${text.includes(':') ? 128 : 32}`).address
const port = (number: number): Uint8Array => Uint8Array.of(number >> 8, number & 255)
const register = 1
/** Fields of a concatenation, each padded to 4 bytes. */
const fields = (...parts: Uint8Array[]): Uint8Array => {
  const padded = parts.flatMap(part => [...part, ...new Array((4 - (part.length % 4)) % 4).fill(0)])
  return Uint8Array.from(padded)
}
const interfaceName = (name: string): Uint8Array => {
  const bytes = new Uint8Array(16)
  bytes.set(encodeText(name))
  return bytes
}

const sets: Record<string, { type: SetType; elements: SetElement[] }> = {
  addresses: {
    type: { key: ['ipv4_addr'], comment: 'plain addresses' },
    elements: [{ key: ip('10.1.0.5'), comment: 'container one' }, { key: ip('10.1.0.6') }],
  },
  addresses6: {
    type: { key: ['ipv6_addr'], size: 1024 },
    elements: [{ key: ip('fd00:1::5'), comment: 'six' }],
  },
  marks: { type: { key: ['mark'] }, elements: [{ key: Uint8Array.of(1, 0, 0, 0) }] },
  markOf: {
    type: { key: ['ether_addr'], value: ['mark'] },
    elements: [{ key: Uint8Array.of(2, 0, 0, 0, 0, 1), value: Uint8Array.of(0x2a, 0, 0, 0) }],
  },
  spoof: {
    type: { key: ['ifname', 'ether_addr'] },
    elements: [{ key: fields(interfaceName('veth0'), Uint8Array.of(2, 0, 0, 0, 0, 1)), comment: 'own address' }],
  },
  ranges: {
    type: { key: ['ipv4_addr'], interval: true },
    elements: [{ key: ip('10.2.0.0') }, { key: ip('10.3.0.0'), intervalEnd: true }],
  },
  boxes: {
    type: { key: ['ipv4_addr', 'inet_service'], interval: true },
    elements: [{ key: fields(ip('10.4.0.0'), port(80)), keyEnd: fields(ip('10.4.255.255'), port(90)), comment: 'web' }],
  },
  ports: {
    type: { key: ['inet_proto', 'ipv4_addr', 'inet_service'], value: ['ipv4_addr', 'inet_service'] },
    elements: [
      {
        key: fields(Uint8Array.of(6), ip('192.0.2.1'), port(8080)),
        value: fields(ip('10.1.0.5'), port(80)),
        comment: 'published',
      },
    ],
  },
  dispatch: {
    type: { key: ['ipv4_addr'], value: 'verdict' },
    elements: [
      { key: ip('10.1.0.5'), verdict: { code: 'goto', chain: 'regular' }, comment: 'goes' },
      { key: ip('10.1.0.6'), verdict: { code: 'drop' } },
    ],
  },
  recent: { type: { key: ['ipv4_addr'], timeoutMs: 60_000, dynamic: true, size: 100 }, elements: [] },
}

/** Rules by chain; each shows one or two kinds of expression. */
const rules: Record<string, Expression[][]> = {
  prerouting: [
    [...ofFamily('ip'), address('ip', 'daddr'), inSet('addresses'), express('notrack', {})],
    [
      express('fib', { dreg: register, result: 3, flags: 2 }),
      compare('eq', Uint8Array.of(2, 0, 0, 0)),
      counter(),
      verdict('accept'),
    ],
  ],
  nat: [
    [
      meta('l4proto'),
      compare('eq', Uint8Array.of(6)),
      express('payload', { dreg: register, base: 2, offset: 2, len: 2 }),
      compare('eq', port(8080)),
      express('immediate', { dreg: 1, data: { value: ip('10.1.0.5') } }),
      express('immediate', { dreg: 2, data: { value: port(80) } }),
      express('nat', { type: 1, family: 2, regAddrMin: 1, regProtoMin: 2 }),
    ],
    [
      meta('l4proto'),
      compare('eq', Uint8Array.of(17)),
      express('immediate', { dreg: 1, data: { value: port(5353) } }),
      express('redir', { regProtoMin: 1 }),
    ],
  ],
  postrouting: [
    [...ofFamily('ip6'), ...addressInNetwork('ip6', 'daddr', 'neq', ip('fd00::'), 8), masquerade()],
    [meta('oifname'), compare('neq', interfaceName('cni0')), verdict('return')],
  ],
  regular: [
    [
      express('ct', { dreg: register, key: 0 }),
      express('bitwise', {
        sreg: register,
        dreg: register,
        len: 4,
        mask: { value: Uint8Array.of(6, 0, 0, 0) },
        xor: { value: new Uint8Array(4) },
      }),
      compare('neq', new Uint8Array(4)),
      verdict('accept'),
    ],
    [
      express('limit', { rate: 10n, unit: 1n, burst: 5, type: 0, flags: 0 }),
      express('reject', { type: 2, icmpCode: 1 }),
    ],
    [
      meta('l4proto'),
      compare('eq', Uint8Array.of(6)),
      express('payload', { dreg: register, base: 2, offset: 2, len: 2 }),
      express('range', { sreg: register, op: 0, fromData: { value: port(1000) }, toData: { value: port(2000) } }),
      verdict('drop'),
    ],
    [
      express('numgen', { dreg: register, modulus: 2, type: 0, offset: 0 }),
      express('meta', { key: 3, sreg: register }),
    ],
    [
      ...ofFamily('ip'),
      address('ip', 'saddr'),
      express('hash', { sreg: register, dreg: 2, len: 4, modulus: 16, seed: 42, offset: 0, type: 0 }),
      express('meta', { key: 3, sreg: 2 }),
    ],
    [...ofFamily('ip'), address('ip', 'saddr'), express('dynset', { setName: 'recent', op: 0, sregKey: register })],
    [...ofFamily('ip'), address('ip', 'saddr'), verdictMap('dispatch')],
  ],
}

function everything() {
  return [
    createTable(table, { exclusive: true }),
    createChain(inChain('regular'), undefined, { exclusive: true }),
    createChain(inChain('leaf')),
    createChain(inChain('prerouting'), { type: 'filter', hook: 'prerouting', priority: Priority.raw, policy: 'drop' }),
    createChain(inChain('nat'), { type: 'nat', hook: 'prerouting', priority: Priority.dstnat }),
    createChain(inChain('postrouting'), { type: 'nat', hook: 'postrouting', priority: Priority.srcnat }),
    ...Object.entries(sets).flatMap(([name, { type, elements }]) => [
      createSet(inTable(name), type, { exclusive: true }),
      ...(elements.length > 0
        ? [
            createElements(
              inTable(name),
              // The map must not lead back into the chain that looks it up.
              elements.map(element =>
                element.verdict?.chain ? { ...element, verdict: { ...element.verdict, chain: 'leaf' } } : element,
              ),
            ),
          ]
        : []),
    ]),
    ...Object.entries(rules).flatMap(([chain, list]) =>
      list.map((expressions, index) => createRule(inChain(chain), expressions, { comment: `${chain} ${index}` })),
    ),
  ]
}

const build = (host: Host) => withNetfilter(host, socket => applyBatch(socket, everything()))

t.test('nft shows every kind of object and expression as it was meant', t =>
  withHost(t, host => {
    build(host)
    matchesGolden(t, ruleset(host), 'nftables-objects.nft')
    matchesGolden(t, rulesetJson(host), 'nftables-objects.jsonl')
  }),
)

t.test('nft loads what it has shown, and shows the same again', t =>
  withHost(t, host => {
    build(host)
    const shown = ruleset(host)
    host.output(['nft', '-f', '-'], { input: `flush ruleset\n${shown}` })
    t.equal(ruleset(host), shown)
  }),
)

t.test('a batch is one send and one receive however much it holds', t =>
  withHost(t, host => {
    withNetfilter(host, socket => {
      t.same(
        countingMessages(() => applyBatch(socket, everything())),
        { sent: 1, received: 1 },
      )
    })
  }),
)

t.test('a dump gives back the elements, rules and chains that were sent', t =>
  withHost(t, host => {
    build(host)
    withNetfilter(host, socket => {
      for (const name of ['addresses', 'addresses6', 'marks', 'markOf', 'spoof', 'boxes', 'ports'])
        t.same(
          socket
            .dump(elementFormat, listElements(inTable(name)))
            .flatMap(elementsOf)
            .sort(byKey),
          sets[name]?.elements.toSorted(byKey),
          name,
        )
      t.same(
        socket
          .dump(elementFormat, listElements(inTable('dispatch')))
          .flatMap(elementsOf)
          .sort(byKey),
        [
          { key: ip('10.1.0.5'), verdict: { code: 'goto', chain: 'leaf' }, comment: 'goes' },
          { key: ip('10.1.0.6'), verdict: { code: 'drop' } },
        ],
      )
      const listed = socket.dump(ruleFormat, listRules(inChain('regular')))
      t.same(
        listed.map(rule => commentOf('rule', rule.attributes.userdata)),
        rules.regular?.map((_, index) => `regular ${index}`),
        'rules come in their order, with their comments',
      )
      t.match(listed[0]?.attributes.expressions, [
        { name: 'ct', data: { dreg: 1, key: 0 } },
        { name: 'bitwise', data: { len: 4, mask: { value: Uint8Array.of(6, 0, 0, 0) } } },
        { name: 'cmp' },
        { name: 'immediate', data: { dreg: 0, data: { verdict: { code: 1 } } } },
      ])
      t.match(socket.get(chainFormat, getChain(inChain('prerouting')))?.attributes, {
        hook: { hooknum: 0, priority: -300 },
        policy: 0,
        type: 'filter',
        use: 2,
      })
      t.same(
        socket
          .dump(setFormat, listSets(table))
          .map(set => set.attributes.name)
          .sort(),
        Object.keys(sets).sort(),
      )
    })
  }),
)

const byKey = (a: SetElement, b: SetElement): number => Buffer.compare(a.key, b.key)

t.test('rules that were read can be sent again, and are the same', t =>
  withHost(t, host => {
    build(host)
    withNetfilter(host, socket => {
      for (const chain of Object.keys(rules)) {
        const before = socket.dump(ruleFormat, listRules(inChain(chain)))
        applyBatch(socket, [
          ...before.map(rule => deleteRule(inChain(chain), rule.attributes.handle ?? 0n)),
          ...before.map(rule => createRule(inChain(chain), rule.attributes.expressions ?? [])),
        ])
        const after = socket.dump(ruleFormat, listRules(inChain(chain)))
        t.same(
          after.map(rule => rule.attributes.expressions),
          before.map(rule => rule.attributes.expressions),
          chain,
        )
      }
    })
  }),
)

t.test('a batch of which one change is refused changes nothing, and the error names the change', t =>
  withHost(t, host => {
    withNetfilter(host, socket => {
      const refused = () =>
        applyBatch(socket, [
          createTable(table),
          createSet(inTable('addresses'), { key: ['ipv4_addr'] }),
          deleteElements(inTable('addresses'), [{ key: ip('10.9.9.9') }]),
          createElements(inTable('addresses'), [{ key: ip('10.1.0.5') }]),
        ])
      t.throws(refused, {
        name: 'NetlinkError',
        code: 'ENOENT',
        operation: 'delete elements from nftables set "inet everything addresses"',
      })
      t.equal(ruleset(host), '', 'the table is not there')
      applyBatch(socket, [createTable(table)])
      t.ok(socket.get(tableFormat, getTable(table)), 'the socket is good for the next batch')
    })
  }),
)

t.test('exclusive creation of what exists is refused, other creation is not', t =>
  withHost(t, host => {
    build(host)
    withNetfilter(host, socket => {
      const key = { key: ip('10.1.0.5') }
      const again = [
        createTable(table, { exclusive: true }),
        createChain(inChain('regular'), undefined, { exclusive: true }),
        createSet(inTable('addresses'), { key: ['ipv4_addr'] }, { exclusive: true }),
        createElements(inTable('addresses'), [key], { exclusive: true }),
      ]
      for (const request of again) t.throws(() => applyBatch(socket, [request]), { code: 'EEXIST' }, request.operation)
      applyBatch(socket, [createTable(table), createElements(inTable('addresses'), [key])])
      t.match(
        elementsOf(socket.get(elementFormat, getElement(inTable('addresses'), key.key)) ?? { attributes: {} }),
        [{ comment: 'container one' }],
        'an element that is added again keeps its comment',
      )
    })
  }),
)

t.test('a batch for an older state of the ruleset is refused', t =>
  withHost(t, host => {
    build(host)
    withNetfilter(host, socket => {
      const generation = rulesetGeneration(socket)
      host.output(['nft', 'add', 'table', 'ip', 'other'])
      const change = [deleteElements(inTable('addresses'), [{ key: ip('10.1.0.5') }])]
      t.throws(() => applyBatch(socket, change, { generation }), { code: 'ERESTART' })
      t.ok(socket.get(elementFormat, getElement(inTable('addresses'), ip('10.1.0.5'))), 'nothing was changed')
      applyBatch(socket, change, { generation: rulesetGeneration(socket) })
      t.notOk(socket.get(elementFormat, getElement(inTable('addresses'), ip('10.1.0.5'))))
    })
  }),
)

t.test('a lookup finds one element, also by a key within a range', t =>
  withHost(t, host => {
    build(host)
    withNetfilter(host, socket => {
      const find = (set: string, key: Uint8Array) => {
        const answer = socket.get(elementFormat, getElement(inTable(set), key))
        return answer && elementsOf(answer)
      }
      t.match(find('addresses', ip('10.1.0.5')), [{ comment: 'container one' }])
      t.match(find('boxes', fields(ip('10.4.7.7'), port(85))), [{ comment: 'web' }])
      t.equal(find('boxes', fields(ip('10.4.7.7'), port(91))), undefined)
      t.equal(find('nowhere', ip('10.1.0.5')), undefined, 'no such set')
      const answers = socket.getAll(elementFormat, [
        getElement(inTable('addresses'), ip('10.1.0.9')),
        getElement(inTable('addresses'), ip('10.1.0.6')),
        getElement(inTable('nowhere'), ip('10.1.0.6')),
      ])
      t.same(
        answers.map(answer => answer !== undefined),
        [false, true, false],
        'several lookups, each answer in its place',
      )
    })
  }),
)

t.test('deletions take what is told and refuse what is in use', t =>
  withHost(t, host => {
    build(host)
    withNetfilter(host, socket => {
      t.throws(() => applyBatch(socket, [deleteChain(inChain('leaf'))]), { code: 'EBUSY' }, 'an element leads to it')
      t.throws(() => applyBatch(socket, [deleteChain(inChain('regular'), { onlyEmpty: true })]), { code: 'EBUSY' })
      t.throws(() => applyBatch(socket, [deleteSet(inTable('marks'), { onlyEmpty: true })]), { code: 'EBUSY' })
      t.throws(() => applyBatch(socket, [deleteTable(table, { onlyEmpty: true })]), { code: 'EBUSY' })
      t.throws(() => applyBatch(socket, [deleteSet(inTable('addresses'))]), { code: 'EBUSY' }, 'a rule looks it up')
      applyBatch(socket, [deleteSet(inTable('marks'))])
      applyBatch(socket, [deleteTable(table)])
    })
    t.equal(ruleset(host), '')
  }),
)

t.test('a dump of 5,000 elements is whole', t =>
  withHost(t, host => {
    withNetfilter(host, socket => {
      const keys = Array.from({ length: 5000 }, (_, index) => ({
        key: Uint8Array.of(10, 1, index >> 8, index & 255),
        comment: `element ${index}`,
      }))
      applyBatch(socket, [createTable(table), createSet(inTable('many'), { key: ['ipv4_addr'] })])
      for (let start = 0; start < keys.length; start += 1000)
        applyBatch(socket, [createElements(inTable('many'), keys.slice(start, start + 1000))])
      const read = socket.dump(elementFormat, listElements(inTable('many'))).flatMap(elementsOf)
      t.equal(read.length, 5000)
      t.same(read.sort(byKey), keys)
    })
  }),
)

t.test('a list of a table that does not exist', t =>
  withHost(t, host => {
    withNetfilter(host, socket => {
      t.throws(() => socket.dump(setFormat, listSets(table)), NetlinkError)
      t.same(socket.dump(ruleFormat, listRules(inChain('regular'))), [], 'has no rules')
    })
  }),
)
