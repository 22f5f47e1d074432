/** The index knows when it is out of date, and nothing depends on it. */

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { containerKey } from '../../../ipam/allocator/entry.ts'
import { currentBoot, stampOf } from '../../../ipam/allocator/index/stamp.ts'
import { listTaken } from '../../../ipam/allocator/inspect.ts'
import { AllocationState } from '../../../ipam/allocator/state.ts'
import { formatAddress } from '../../../lib/address/address.ts'
import { NetworkDirectory } from './fixture.ts'
import { asAfterReboot } from './reboot.ts'

const wide = { subnet: '10.1.0.0/16' }

/** Whether the next request would have to build the index again. */
function isStale(net: NetworkDirectory): boolean {
  const state = new AllocationState(net.path)
  state.close()
  return state.rebuilt
}

function stampsOf(net: NetworkDirectory, containerId: string) {
  const state = new AllocationState(net.path)
  const holdings = state.index.holdingsOf(containerKey(containerId))
  state.close()
  return holdings.map(({ stamp }) => stamp)
}

t.test('every verb leaves the index up to date', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  net.add('a')
  t.equal(isStale(net), false, 'first ADD')
  net.add('b')
  t.equal(isStale(net), false, 'ADD')
  net.add('b')
  t.equal(isStale(net), false, 'the same again')
  net.del('a')
  t.equal(isStale(net), false, 'DEL')
  net.del('a')
  net.check('b')
  net.status()
  t.equal(isStale(net), false, 'looking')
  net.gc([])
  t.equal(isStale(net), false, 'GC')
})

t.test('a failed ADD leaves the index up to date', async t => {
  const net = new NetworkDirectory(t.teardown, { ranges: [[wide], [{ subnet: '10.2.0.0/30' }]] })
  net.add('a')
  t.throws(() => net.add('b'), { code: 102 })
  t.equal(isStale(net), false)
})

t.test('the index grows with the addresses, and is found again', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  for (let number = 0; number < 300; number++) net.add(`c${number}`)
  t.equal(isStale(net), false)
  t.ok(statSync(join(net.path, '.index')).size >= 8 * 4096)
  for (let number = 0; number < 300; number++) net.check(`c${number}`)
  for (let number = 0; number < 300; number++) net.del(`c${number}`)
  t.strictSame(net.taken(), {})
})

const changes: Readonly<Record<string, (net: NetworkDirectory) => void>> = {
  'a file that appears': net => net.write('10.1.7.7', 'x\r\neth0'),
  'a file that disappears': net => rmSync(join(net.path, '10.1.0.2')),
  'a file that is renamed': net => renameSync(join(net.path, '10.1.0.2'), join(net.path, '10.1.9.9')),
  'a directory': net => mkdirSync(join(net.path, '10.1.8.8')),
  'a file that comes and goes': net => {
    net.write('x', '')
    rmSync(join(net.path, 'x'))
  },
  'another time of the directory': net => utimesSync(net.path, 1, 1),
  'an index of zeros': net => net.write('.index', '\0'.repeat(8192)),
  'an empty index': net => net.write('.index', ''),
  'an index that is text': net => net.write('.index', 'nothing of the kind\n'.repeat(500)),
  'no index': net => rmSync(join(net.path, '.index')),
  'an index of a later format': net => {
    const bytes = Buffer.from(net.read('.index'), 'latin1')
    bytes.writeUInt32LE(2, 8)
    writeFileSync(join(net.path, '.index'), bytes)
  },
}

for (const [title, change] of Object.entries(changes)) {
  t.test(`the index is built again after: ${title}`, async t => {
    const net = new NetworkDirectory(t.teardown, wide)
    for (const id of ['a', 'b', 'c']) net.add(id)
    change(net)
    t.equal(isStale(net), true)
    net.add('d')
    t.equal(isStale(net), false)
  })
}

for (const [title, make] of [
  ['a directory', (path: string) => mkdirSync(path)],
  ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
  ['a broken link', (path: string) => symlinkSync('/nonexistent/x', path)],
] as const) {
  t.test(`addresses are handed out and given back where ".index" is ${title}`, async t => {
    const net = new NetworkDirectory(t.teardown, wide)
    mkdirSync(net.path)
    make(join(net.path, '.index'))
    t.strictSame(net.add('a'), ['10.1.0.2'])
    t.strictSame(net.add('a'), ['10.1.0.2'])
    t.strictSame(net.add('b'), ['10.1.0.3'])
    net.check('b')
    net.del('a')
    t.strictSame(net.taken(), { '10.1.0.3': 'b eth0' })
  })
}

t.test('names that are no address files block one address each, and nothing else', async t => {
  const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/29' })
  mkdirSync(join(net.path, '10.1.0.2', 'inside'), { recursive: true })
  symlinkSync('/nonexistent/x', join(net.path, '10.1.0.3'))
  execFileSync('mkfifo', [join(net.path, '10.1.0.4')])
  for (const name of ['10.1.0.05', '10.1.0', '::ffff:10.1.0.6', 'note.txt', '10.1.0.6~', '.10.1.0.6', 'FD00::1'])
    net.write(name, 'z\r\neth0')
  t.strictSame(net.add('a'), ['10.1.0.5'])
  t.strictSame(net.add('b'), ['10.1.0.6'])
  t.throws(() => net.add('c'), { code: 102 })
  t.throws(() => net.add('c', { args: { IP: '10.1.0.2' } }), { code: 103 })
  net.gc([])
  t.strictSame(net.add('c'), ['10.1.0.5'])
  net.status()
})

t.test('a file that was not written whole does not block its address', async t => {
  for (const content of ['', '\n', '\0\0\0\0\0\0', ' \r\n ']) {
    const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/30', rangeStart: '10.1.0.2' })
    mkdirSync(net.path)
    net.write('10.1.0.2', content)
    net.status()
    t.strictSame(net.add('a'), ['10.1.0.2'], JSON.stringify(content))
    t.strictSame(net.taken(), { '10.1.0.2': 'a eth0' })
  }
})

t.test('a file rewritten in place is believed, not the index', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  net.add('a')
  net.write('10.1.0.2', 'b\r\neth0')
  t.strictSame(net.add('a'), ['10.1.0.3'])
  net.del('a')
  t.strictSame(net.taken(), { '10.1.0.2': 'b eth0' })
})

t.test('no damage to the index makes an address be handed out twice or be lost', async t => {
  const damage = fc.array(fc.tuple(fc.nat(8191), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(damage, flips => {
      const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/28' })
      for (let number = 0; number < 8; number++) net.add(`c${number}`)
      net.del('c3')
      const before = net.taken()
      const bytes = Buffer.from(readIndex(net))
      for (const [offset, mask] of flips) bytes[offset % bytes.length] = (bytes[offset % bytes.length] ?? 0) ^ mask
      writeFileSync(join(net.path, '.index'), bytes)
      const kept = Object.entries(before).every(
        ([address, owner]) => net.add(owner.replace(' eth0', ''))[0] === address,
      )
      const fresh = ['x1', 'x2', 'x3', 'x4', 'x5', 'x6'].map(id => net.add(id)[0] ?? '')
      const noneTwice = new Set([...fresh, ...Object.keys(before)]).size === 13
      for (const id of ['x1', 'x2', 'x3', 'x4', 'x5', 'x6']) net.del(id)
      const gone = JSON.stringify(net.taken()) === JSON.stringify(before)
      rmSync(net.dataDir, { recursive: true })
      return kept && noneTwice && gone
    }),
    { numRuns: 60 },
  )
  t.pass('none')
})

/** Another file in place of an address file, written at another time: the clock of files may not have moved on yet. */
function replace(net: NetworkDirectory, name: string, content: string): void {
  rmSync(join(net.path, name))
  net.write(name, content)
  utimesSync(join(net.path, name), 1, 1)
}

function readIndex(net: NetworkDirectory): Buffer {
  return Buffer.from(execFileSync('cat', [join(net.path, '.index')]))
}

t.test('an attachment is stamped with the boot and its namespace; another path says nothing', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  const boot = currentBoot()
  t.ok(boot)
  const namespace = statSync('/proc/self/ns/net', { bigint: true }).ino
  net.add('a', { netns: '/proc/self/ns/net' })
  t.strictSame(stampsOf(net, 'a'), [{ boot, namespace }])
  for (const [id, netns] of Object.entries({ b: '', c: '/nonexistent/ns', d: net.dataDir, e: '/proc/1/root/x' })) {
    net.add(id, { netns })
    t.strictSame(stampsOf(net, id), [undefined], netns)
  }
  t.strictSame(stampOf('/proc/self/ns/net', undefined), undefined, 'nor does one without a boot')
  net.add('b', { netns: '/proc/self/ns/net' })
  t.strictSame(stampsOf(net, 'b'), [{ boot, namespace }], 'ADD again brings the stamp')
})

t.test('a stamp outlives building the index again, unless the file is another one', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  for (const id of ['a', 'b', 'c']) net.add(id, { netns: '/proc/self/ns/net' })
  const [stamp] = stampsOf(net, 'a')
  replace(net, '10.1.0.2', 'a\r\neth0')
  replace(net, '10.1.0.3', 'z\r\neth0')
  net.add('d')
  t.strictSame(stampsOf(net, 'a'), [undefined], 'written anew with the same words')
  t.strictSame(stampsOf(net, 'z'), [undefined], 'written anew by another')
  t.strictSame(stampsOf(net, 'c'), [stamp], 'left alone')
})

t.test('addresses of an earlier boot are handed out again when the pool is dry, and not before', async t => {
  const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/29' })
  for (const id of ['a', 'b', 'c']) net.add(id)
  net.write('10.1.0.5', 'go\r\neth0')
  asAfterReboot(net, ['a', 'b'])
  t.strictSame(net.add('n1'), ['10.1.0.6'])
  t.strictSame(Object.keys(net.taken()).length, 5)
  net.status()
  t.strictSame(net.add('n2'), ['10.1.0.2'], 'the pool was dry')
  t.strictSame(net.add('n3'), ['10.1.0.3'])
  const error = (() => {
    try {
      net.add('n4')
    } catch (thrown) {
      return thrown
    }
    return undefined
  })()
  t.match(error, { code: 102 })
  t.match(net.taken(), { '10.1.0.4': 'c eth0', '10.1.0.5': 'go eth0' }, 'no stamp, not reclaimed')
  t.throws(() => net.status(), { code: 50 })
})

t.test(
  'a file that lost its content in a power failure is a free address, though its time has not changed',
  async t => {
    const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/30', rangeStart: '10.1.0.2' })
    net.add('a')
    asAfterReboot(net, ['a'])
    const file = join(net.path, '10.1.0.2')
    const copy = join(net.dataDir, 'copy')
    execFileSync('cp', ['-p', file, copy])
    net.write('10.1.0.2', '')
    execFileSync('touch', ['-r', copy, file])
    t.strictSame(net.add('b'), ['10.1.0.2'])
  },
)

t.test('listTaken() names the owners, and what is known of their lives', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  t.strictSame(listTaken(net.path), [])
  for (const id of ['a', 'b']) net.add(id, { netns: '/proc/self/ns/net' })
  net.add('c')
  asAfterReboot(net, ['a'])
  net.write('10.1.0.9', 'old')
  net.write('10.1.0.10', '')
  net.write('note', 'x')
  const found = listTaken(net.path).map(({ address, owner, isDead }) => [
    formatAddress(address),
    `${owner.containerId} ${owner.ifname ?? 'any'}`,
    isDead,
  ])
  t.strictSame(
    found.toSorted(([a], [b]) => String(a).localeCompare(String(b))),
    [
      ['10.1.0.2', 'a eth0', true],
      ['10.1.0.3', 'b eth0', false],
      ['10.1.0.4', 'c eth0', undefined],
      ['10.1.0.9', 'old any', undefined],
    ],
  )
})

t.test('a requested address of an earlier boot is given; one without a stamp is not', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  net.add('a')
  net.add('b')
  asAfterReboot(net, ['a'])
  t.strictSame(net.add('c', { args: { IP: '10.1.0.2' } }), ['10.1.0.2'])
  t.throws(() => net.add('d', { args: { IP: '10.1.0.3' } }), { code: 103 })
})

t.test('an attachment of an earlier boot that comes back keeps its address', async t => {
  const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/30', rangeStart: '10.1.0.2' })
  net.add('a')
  asAfterReboot(net, ['a'])
  t.strictSame(net.add('a', { netns: '/proc/self/ns/net' }), ['10.1.0.2'])
  t.throws(() => net.add('b'), { code: 102 })
})

t.test('an attachment of an earlier boot that comes back does not lose one address over another', async t => {
  const net = new NetworkDirectory(t.teardown, { ranges: [[wide], [{ subnet: 'fd00::/126' }]] })
  for (const id of ['a', 'b', 'c']) net.add(id, id === 'c' ? { ipam: wide } : {})
  asAfterReboot(net, ['b', 'c'])
  net.add('a')
  net.gc(['a eth0', 'c eth0'])
  net.write('fd00::3', 'x\r\neth0')
  t.throws(() => net.add('c'), { code: 102 })
  t.match(net.taken(), { '10.1.0.4': 'c eth0' })
})

t.test('GC without a list frees what is of an earlier boot', async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  for (const id of ['a', 'b', 'c']) net.add(id)
  asAfterReboot(net, ['a', 'c'])
  net.gc(undefined)
  t.strictSame(net.taken(), { '10.1.0.3': 'b eth0' })
})

t.test('a stamp speaks of the file that it was made for, and of no later one of the same name', async t => {
  const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/30', rangeStart: '10.1.0.2' })
  net.add('a')
  asAfterReboot(net, ['a'])
  // The Go plugin has deleted and made the attachment again meanwhile: the stamp is about the former file.
  replace(net, '10.1.0.2', 'a\r\neth0')
  t.throws(() => net.add('b'), { code: 102 })
  t.strictSame(
    readdirSync(net.path).filter(name => name.startsWith('10.')),
    ['10.1.0.2'],
  )
})

t.test("files of any mode are read: they are root's", async t => {
  const net = new NetworkDirectory(t.teardown, wide)
  net.add('a')
  chmodSync(join(net.path, '10.1.0.2'), 0)
  rmSync(join(net.path, '.index'))
  t.strictSame(net.add('a'), ['10.1.0.2'])
})
