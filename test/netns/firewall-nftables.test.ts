/** Masquerade with the nftables back end. */

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { libc } from '#libc'
import type { Prefix } from '../../lib/address/prefix.ts'
import { ErrorCode } from '../../lib/cni/errors.ts'
import {
  type Attachment,
  addMasquerade,
  checkMasquerade,
  deleteMasquerade,
  gcMasquerade,
  hasFirewallState,
  masqueradeStatus,
} from '../../lib/firewall/masquerade.ts'
import { close, O, open } from '../../lib/sys/file.ts'
import { type Host, withHost } from '../harness/index.ts'
import {
  countingMessages,
  disturbedBeforeBatch,
  inside,
  matchesGolden,
  prefix,
  ruleset,
  rulesetJson,
} from './firewall-fixture.ts'

/** flock(2) */
const LOCK_EX = 2

const attachment = (containerId: string, rest: Partial<Attachment> = {}): Attachment => ({
  network: 'podnet',
  containerId,
  ifname: 'eth0',
  ...rest,
})
const dual = (host: number): Prefix[] => [prefix(`10.1.0.${host}/16`), prefix(`fd00:1::${host}/64`)]

const add = (host: Host, whose: Attachment, addresses: Prefix[]) =>
  inside(host, () => addMasquerade('nftables', whose, addresses))
const remove = (host: Host, whose: Attachment, addresses?: Prefix[]) =>
  inside(host, () => deleteMasquerade(whose, addresses && { addresses }).close())
const check = (host: Host, whose: Attachment, addresses: Prefix[]) =>
  inside(host, () => checkMasquerade('nftables', whose, addresses))
const gc = (host: Host, network: string, valid: Attachment[]) => inside(host, () => gcMasquerade(network, valid))
const nft = (host: Host, ...words: string[]) => host.output(['nft', ...words])

/** Comment by address, over all sets. */
function elements(host: Host): Record<string, string> {
  const found = [...ruleset(host).matchAll(/([0-9a-f.:]+) comment "([^"]*)"/g)]
  return Object.fromEntries(found.map(([, address = '', comment = '']) => [address, comment]))
}

const checkFails = (t: Test, message: RegExp, run: () => void) =>
  t.throws(run, { name: 'CniError', code: ErrorCode.checkFailed, message })

t.test('the ruleset of three attachments of two networks', t =>
  withHost(t, host => {
    add(host, attachment('3f0ef4a09c1b'), dual(5))
    add(host, attachment('3f0ef4a09c1b', { ifname: 'eth1' }), dual(6))
    add(host, attachment('a'.repeat(200), { network: 'other.net_1' }), [
      prefix('10.1.0.5/24'),
      prefix('2001:db8::5/128'),
    ])
    matchesGolden(t, ruleset(host), 'firewall-masquerade.nft')
    matchesGolden(t, rulesetJson(host), 'firewall-masquerade.jsonl')
    const shown = ruleset(host)
    host.output(['nft', '-f', '-'], { input: `flush ruleset\n${shown}` })
    t.equal(ruleset(host), shown, 'nft loads what it has shown')
    remove(host, attachment('3f0ef4a09c1b'), dual(5))
    t.notOk(elements(host)['10.1.0.5']?.startsWith('3f0e'), 'and cnikit works with what nft has loaded')
  }),
)

t.test('ADD costs few messages, however many attachments there are', t =>
  withHost(t, host => {
    const cost = (number: number) =>
      countingMessages(() => add(host, attachment(`container-${number}`), [prefix(`10.1.9.${number}/16`)]))
    const costOfDelete = (number: number) =>
      countingMessages(() => remove(host, attachment(`container-${number}`), [prefix(`10.1.9.${number}/16`)]))
    add(host, attachment('first'), dual(1))
    const few = { add: cost(1), delete: costOfDelete(1) }
    for (let number = 0; number < 1000; number++)
      add(host, attachment(`filler-${number}`), [prefix(`10.1.${100 + (number >> 8)}.${number & 255}/16`)])
    const many = { add: cost(2), delete: costOfDelete(2) }
    t.same(many, few, 'the same with 1,000 as with one')
    t.same(few, { add: { sent: 4, received: 4 }, delete: { sent: 5, received: 7 } })
    t.equal(Object.keys(elements(host)).length, 1002)
  }),
)

t.test('ADD twice changes nothing', t =>
  withHost(t, host => {
    add(host, attachment('one'), dual(5))
    const before = ruleset(host)
    add(host, attachment('one'), dual(5))
    t.equal(ruleset(host), before)
    add(host, attachment('one'), [...dual(5), ...dual(5)])
    t.equal(ruleset(host), before, 'also with an address named twice')
  }),
)

t.test('an address that an earlier attachment left behind goes to the new one, and stays with it', t =>
  withHost(t, host => {
    add(host, attachment('dead'), dual(5))
    add(host, attachment('alive'), dual(5))
    t.same(elements(host), { '10.1.0.5': 'alive eth0', 'fd00:1::5': 'alive eth0' })
    remove(host, attachment('dead'), dual(5))
    remove(host, attachment('dead'))
    t.same(elements(host), { '10.1.0.5': 'alive eth0', 'fd00:1::5': 'alive eth0' }, 'a late DEL of the old one')
    checkFails(t, /set "masquerade\/podnet\/10.1.0.0\/16" has it for "alive eth0"/, () =>
      check(host, attachment('dead'), dual(5)),
    )
  }),
)

t.test('two networks with the same addresses do not disturb each other', t =>
  withHost(t, host => {
    const [one, two] = [attachment('one', { network: 'red' }), attachment('two', { network: 'blue' })]
    add(host, one, dual(5))
    add(host, two, dual(5))
    check(host, one, dual(5))
    check(host, two, dual(5))
    remove(host, one)
    check(host, two, dual(5))
    t.throws(() => check(host, one, dual(5)), { code: ErrorCode.checkFailed })
  }),
)

t.test('DEL removes the attachment alone, with addresses and without', t =>
  withHost(t, host => {
    for (const addresses of [dual(5), undefined, [], dual(77), dual(5).slice(0, 1).concat(dual(7))]) {
      add(host, attachment('one'), dual(5))
      add(host, attachment('one', { ifname: 'eth1' }), dual(6))
      remove(host, attachment('one'), addresses)
      t.same(Object.values(elements(host)), ['one eth1', 'one eth1'], JSON.stringify(addresses))
      remove(host, attachment('one'), addresses)
      remove(host, attachment('one', { ifname: 'eth1' }), dual(6))
      t.same(elements(host), {}, 'and again, when nothing is left')
    }
  }),
)

t.test('DEL of what was never added is fine', t =>
  withHost(t, host => {
    remove(host, attachment('one'))
    remove(host, attachment('one'), dual(5))
    nft(host, 'add', 'table', 'inet', 'cnikit')
    remove(host, attachment('one'))
    remove(host, attachment('one'), dual(5))
    t.equal(ruleset(host), 'table inet cnikit {\n}\n')
  }),
)

t.test('names of any length and any characters are kept apart', t =>
  withHost(t, host => {
    const long = 'n'.repeat(300)
    const identities = [
      attachment('c'.repeat(300), { network: long, ifname: 'interface-name0' }),
      attachment(`${'c'.repeat(299)}d`, { network: long, ifname: 'interface-name0' }),
      attachment('c'.repeat(300), { network: `${long}m`, ifname: 'interface-name0' }),
      attachment('with blanks "and" quotes\n', { network: 'a network; flush ruleset' }),
    ]
    for (const [index, identity] of identities.entries())
      add(host, identity, [prefix(`10.1.0.${index + 1}/16`), prefix('fd00:aaaa:bbbb:cccc:dddd:eeee:ffff:1/128')])
    const shown = ruleset(host)
    host.output(['nft', '-f', '-'], { input: `flush ruleset\n${shown}` })
    t.equal(ruleset(host), shown, 'nft can load them')
    for (const [index, identity] of identities.entries()) check(host, identity, [prefix(`10.1.0.${index + 1}/16`)])
    for (const identity of identities) {
      remove(host, identity)
      t.throws(() => check(host, identity, dual(1)), { code: ErrorCode.checkFailed })
    }
    t.same(elements(host), {})
  }),
)

t.test('after "nft flush ruleset" CHECK reports, ADD heals and DEL is fine', t =>
  withHost(t, host => {
    add(host, attachment('one'), dual(5))
    check(host, attachment('one'), dual(5))
    nft(host, 'flush', 'ruleset')
    checkFails(t, /masquerade of 10.1.0.5: set "masquerade\/podnet\/10.1.0.0\/16" does not have it/, () =>
      check(host, attachment('one'), dual(5)),
    )
    remove(host, attachment('one'), dual(5))
    t.equal(ruleset(host), '')
    add(host, attachment('one'), dual(5))
    check(host, attachment('one'), dual(5))
    t.ok(ruleset(host).includes('masquerade'))
  }),
)

t.test('CHECK misses a rule and the chain, and GC puts them back', t =>
  withHost(t, host => {
    add(host, attachment('one'), dual(5))
    const whole = ruleset(host)
    nft(host, 'flush', 'chain', 'inet', 'cnikit', 'masquerading')
    checkFails(t, /chain "masquerading" has no rule for set "masquerade\/podnet\/10.1.0.0\/16"/, () =>
      check(host, attachment('one'), dual(5)),
    )
    nft(host, 'delete', 'chain', 'inet', 'cnikit', 'masquerading')
    checkFails(t, /there is no chain "masquerading"/, () => check(host, attachment('one'), dual(5)))
    gc(host, 'podnet', [attachment('one')])
    check(host, attachment('one'), dual(5))
    t.equal(ruleset(host), whole)
  }),
)

t.test('GC removes what is not valid, in its network alone', t =>
  withHost(t, host => {
    for (let number = 1; number <= 4; number++) add(host, attachment(`container-${number}`), dual(number))
    add(host, attachment('container-1', { ifname: 'eth1' }), dual(9))
    add(host, attachment('elsewhere', { network: 'podnet2' }), [prefix('10.2.0.1/16')])
    gc(host, 'podnet', [attachment('container-2'), attachment('container-1', { ifname: 'eth1' })])
    t.same(elements(host), {
      '10.1.0.2': 'container-2 eth0',
      '10.1.0.9': 'container-1 eth1',
      '10.2.0.1': 'elsewhere eth0',
      'fd00:1::2': 'container-2 eth0',
      'fd00:1::9': 'container-1 eth1',
    })
    gc(host, 'podnet', [])
    t.match(ruleset(host), /masquerade\/podnet2\//)
    t.notMatch(ruleset(host), /masquerade\/podnet\//, 'sets and rules of subnets without attachments go')
    check(host, attachment('elsewhere', { network: 'podnet2' }), [prefix('10.2.0.1/16')])
    t.ok(inside(host, hasFirewallState))
    gc(host, 'podnet2', [])
    t.equal(ruleset(host), '', 'with the last network the table goes')
    t.notOk(inside(host, hasFirewallState))
    gc(host, 'podnet2', [])
    t.equal(ruleset(host), '', 'and again, when nothing is left')
  }),
)

t.test('GC of more than one batch holds', t =>
  withHost(t, host => {
    for (let number = 0; number < 2500; number++)
      add(host, attachment(`container-${number}`), [prefix(`10.1.${number >> 8}.${number & 255}/16`)])
    gc(host, 'podnet', [attachment('container-7')])
    t.same(elements(host), { '10.1.0.7': 'container-7 eth0' })
  }),
)

t.test("GC leaves what is not cnikit's", t =>
  withHost(t, host => {
    add(host, attachment('one'), [prefix('10.1.0.5/16')])
    nft(host, 'add', 'element', 'inet', 'cnikit', 'masquerade/podnet/10.1.0.0/16', '{ 10.1.0.99 }')
    gc(host, 'podnet', [])
    t.match(ruleset(host), /elements = { 10\.1\.0\.99 }/, "an administrator's own element")
    nft(host, 'delete', 'element', 'inet', 'cnikit', 'masquerade/podnet/10.1.0.0/16', '{ 10.1.0.99 }')
    nft(host, 'add', 'chain', 'inet', 'cnikit', 'own')
    nft(host, 'add', 'table', 'ip', 'nat')
    gc(host, 'podnet', [])
    t.equal(ruleset(host), 'table inet cnikit {\n\tchain own {\n\t}\n}\ntable ip nat {\n}\n')
  }),
)

t.test('what another process does between looking and creating is noticed', async t => {
  const racing = (title: string, prepare: (host: Host) => void, disturb: (host: Host) => void) =>
    t.test(title, t =>
      withHost(t, host => {
        prepare(host)
        disturbedBeforeBatch(
          1,
          () => disturb(host),
          () => add(host, attachment('one'), dual(5)),
        )
        check(host, attachment('one'), dual(5))
        const text = ruleset(host)
        for (const object of [
          'chain masquerading',
          'ip daddr 224.0.0.0/4 return',
          'ip saddr @masquerade/podnet/10.1.0.0/16',
        ])
          t.equal(text.split(object).length - 1, 1, `one "${object}"`)
      }),
    )
  const other = attachment('other')
  await racing(
    'EEXIST: the same network came into being',
    () => {},
    host => add(host, other, dual(6)),
  )
  await racing(
    'EEXIST: another network came into being',
    () => {},
    host => add(host, attachment('other', { network: 'blue' }), [prefix('10.9.0.1/16')]),
  )
  await racing(
    'EEXIST: the address was taken',
    host => add(host, other, dual(6)),
    host => add(host, other, dual(5)),
  )
  await racing(
    'ENOENT: the ruleset was flushed',
    host => add(host, other, dual(6)),
    host => nft(host, 'flush', 'ruleset'),
  )
  await racing(
    'ENOENT: the network was collected as garbage',
    host => add(host, other, dual(6)),
    host => gc(host, 'podnet', []),
  )
})

t.test('a DEL does not remove an element that changed hands after it was looked at', t =>
  withHost(t, host => {
    add(host, attachment('old'), dual(5))
    disturbedBeforeBatch(
      1,
      () => add(host, attachment('new'), dual(5)),
      () => remove(host, attachment('old'), dual(5)),
    )
    t.same(elements(host), { '10.1.0.5': 'new eth0', 'fd00:1::5': 'new eth0' })
  }),
)

t.test('GC does not remove a subnet that an ADD has just come to need', t =>
  withHost(t, host => {
    add(host, attachment('old'), dual(5))
    disturbedBeforeBatch(
      1,
      () => add(host, attachment('new'), dual(6)),
      () => gc(host, 'podnet', [attachment('new')]),
    )
    check(host, attachment('new'), dual(6))
    t.same(elements(host), { '10.1.0.6': 'new eth0', 'fd00:1::6': 'new eth0' })
  }),
)

t.test('a ruleset that never comes to rest is an error to try again, and nothing is removed', t =>
  withHost(t, host => {
    add(host, attachment('one'), dual(5))
    let times = 0
    const disturb = (): void => {
      times++
      nft(host, 'add', 'table', 'ip', `noise${times}`)
    }
    t.throws(() => disturbedBeforeBatch('each', disturb, () => remove(host, attachment('one'), dual(5))), {
      code: ErrorCode.tryAgainLater,
    })
    t.ok(times > 10, `${times} attempts`)
    check(host, attachment('one'), dual(5))
  }),
)

t.test('8 processes that start with an empty ruleset make one of each rule, and lose no element', t =>
  withHost(t, async host => {
    const racer = join(dirname(fileURLToPath(import.meta.url)), 'firewall-racer.js')
    const lock = join(host.directory, 'start')
    const race = async (verb: 'add' | 'delete') => {
      const held = open(lock, O.RDWR | O.CREAT)
      libc.flock(held, LOCK_EX)
      const racers = Array.from({ length: 8 }, (_, number) =>
        host.start([process.execPath, racer, lock, String(number), '10', verb, 'red', 'blue']),
      )
      for (const child of racers) await child.says(/ready/)
      close(held)
      for (const child of racers) t.match(await child.ended, { status: 0, stderr: '' }, 'a racer comes to its end')
    }
    await race('add')
    const text = ruleset(host)
    t.equal(Object.keys(elements(host)).length, 8 * 10 * 2 * 2)
    for (const object of [
      'table inet cnikit',
      'chain masquerading',
      'ip daddr 224.0.0.0/4 return',
      'ip6 daddr ff00::/8 return',
      'ip saddr @masquerade/red/10.1.0.0/16 ip daddr != 10.1.0.0/16 masquerade',
      'ip saddr @masquerade/blue/10.2.0.0/16 ip daddr != 10.2.0.0/16 masquerade',
      'ip6 saddr @masquerade/red/fd00-1--/64 ip6 daddr != fd00:1::/64 masquerade',
      'ip6 saddr @masquerade/blue/fd00-2--/64 ip6 daddr != fd00:2::/64 masquerade',
    ])
      t.equal(text.split(object).length - 1, 1, object)
    await race('delete')
    t.same(elements(host), {}, 'and 8 processes remove them all')
  }),
)

t.test('STATUS is fine where the kernel has nftables', t =>
  withHost(t, host => {
    inside(host, () => masqueradeStatus('nftables'))
    t.equal(ruleset(host), '', 'and it changes nothing')
  }),
)
