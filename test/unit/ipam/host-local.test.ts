import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hostLocal } from '../../../ipam/host-local/plugin.ts'
import { errorOf, NetworkDirectory, smallRange } from './fixture.ts'

const dual = { ranges: [[{ subnet: '10.1.0.0/29' }], [{ subnet: 'fd00::/64' }]] }

t.test("ADD answers addresses with the subnet's length and the gateway, and the routes", async t => {
  const net = new NetworkDirectory(t.teardown, {
    ...dual,
    routes: [{ dst: '0.0.0.0/0' }, { dst: 'fd01::/16', gw: 'fd00::9', mtu: 1400, table: 0 }],
  })
  t.strictSame(hostLocal.add(net.request('ADD', 'a')), {
    ips: [
      { address: '10.1.0.2/29', gateway: '10.1.0.1' },
      { address: 'fd00::2/64', gateway: 'fd00::1' },
    ],
    routes: [{ dst: '0.0.0.0/0' }, { dst: 'fd01::/16', gw: 'fd00::9', mtu: 1400, table: 0 }],
  })
})

t.test(
  "the directory is the Go plugin's: a file per address with id, CR, LF and interface, and the last address",
  async t => {
    const net = new NetworkDirectory(t.teardown, dual)
    net.add('a')
    t.strictSame(readdirSync(net.path).toSorted(), [
      '.index',
      '10.1.0.2',
      'fd00::2',
      'last_reserved_ip.0',
      'last_reserved_ip.1',
      'lock',
    ])
    t.equal(net.read('10.1.0.2'), 'a\r\neth0')
    t.equal(net.read('last_reserved_ip.1'), 'fd00::2')
    t.equal(net.read('lock'), '')
    t.equal(statSync(join(net.path, '10.1.0.2')).mode & 0o7777, 0o600)
    t.equal(statSync(net.path).mode & 0o7777, 0o755)
  },
)

t.test('addresses are handed out in turn: a released one is not the next', async t => {
  const net = new NetworkDirectory(t.teardown)
  t.strictSame(net.add('a'), ['10.1.0.2'])
  net.del('a')
  t.strictSame(net.add('b'), ['10.1.0.3'])
  for (const id of ['c', 'd', 'e']) net.add(id)
  t.strictSame(net.add('f'), ['10.1.0.2'], 'around the end')
})

t.test('the turn begins anew when the last address is none of the set, or is not known', async t => {
  for (const cursor of ['192.168.0.1', 'fd00::1', 'nonsense', '']) {
    const net = new NetworkDirectory(t.teardown)
    net.add('a')
    net.write('last_reserved_ip.0', cursor)
    t.strictSame(net.add('b'), ['10.1.0.3'], JSON.stringify(cursor))
  }
})

t.test('an unusable last_reserved_ip.N harms nobody', async t => {
  const net = new NetworkDirectory(t.teardown)
  mkdirSync(join(net.path, 'last_reserved_ip.0'), { recursive: true })
  t.strictSame(net.add('a'), ['10.1.0.2'])
  t.strictSame(net.add('b'), ['10.1.0.3'])
})

t.test('the pools of a set are used one after the other, and gateways never', async t => {
  const ranges = [
    [
      { subnet: '10.1.0.0/24', rangeStart: '10.1.0.9', rangeEnd: '10.1.0.10' },
      { subnet: '10.2.0.0/24', rangeStart: '10.2.0.4', rangeEnd: '10.2.0.6', gateway: '10.2.0.5' },
    ],
  ]
  const net = new NetworkDirectory(t.teardown, { ranges })
  t.strictSame(
    ['a', 'b', 'c', 'd'].map(id => hostLocal.add(net.request('ADD', id)).ips?.[0]),
    [
      { address: '10.1.0.9/24', gateway: '10.1.0.1' },
      { address: '10.1.0.10/24', gateway: '10.1.0.1' },
      { address: '10.2.0.4/24', gateway: '10.2.0.5' },
      { address: '10.2.0.6/24', gateway: '10.2.0.5' },
    ],
  )
  const error = errorOf(() => net.add('e'))
  t.equal(error.code, 102)
  t.equal(
    error.message,
    'failed to allocate for range 0: no IP addresses available in range set: 10.1.0.9-10.1.0.10,10.2.0.4-10.2.0.6',
  )
})

t.test('ADD of an attachment that has its addresses gives the same again', async t => {
  const net = new NetworkDirectory(t.teardown, dual)
  const first = net.add('a')
  net.add('b')
  t.strictSame(net.add('a'), first)
  t.equal(Object.keys(net.taken()).length, 4)
  t.strictSame(net.add('a', { args: { IP: '10.1.0.2' } }), first, 'asked for by name')
})

t.test('ADD completes an attachment that has only some of its addresses', async t => {
  const net = new NetworkDirectory(t.teardown, dual)
  net.add('a')
  rmSync(join(net.path, 'fd00::2'))
  t.strictSame(net.add('a'), ['10.1.0.2', 'fd00::3'])
  t.strictSame(net.add('a'), ['10.1.0.2', 'fd00::3'])
})

t.test('interfaces of one container are attachments of their own', async t => {
  const net = new NetworkDirectory(t.teardown)
  t.strictSame(net.add('a'), ['10.1.0.2'])
  t.strictSame(net.add('a', { ifname: 'eth1' }), ['10.1.0.3'])
  net.del('a', { ifname: 'eth1' })
  t.strictSame(net.taken(), { '10.1.0.2': 'a eth0' })
})

t.test('a request for another address than the one held is refused, and nothing changes', async t => {
  const net = new NetworkDirectory(t.teardown)
  net.add('a')
  const error = errorOf(() => net.add('a', { args: { IP: '10.1.0.4' } }))
  t.equal(error.code, 104)
  t.equal(error.message, 'failed to allocate for range 0: requested IP address 10.1.0.4, but a already holds 10.1.0.2')
  t.strictSame(net.taken(), { '10.1.0.2': 'a eth0' })
})

t.test('an address is asked for in CNI_ARGS, args and runtimeConfig, with or without a length', async t => {
  const net = new NetworkDirectory(t.teardown, dual)
  t.strictSame(net.add('a', { args: { IP: '10.1.0.5/24' } }), ['10.1.0.5', 'fd00::2'])
  t.strictSame(net.add('b', { config: { args: { cni: { ips: ['10.1.0.4'] } } } }), ['10.1.0.4', 'fd00::3'])
  const ips = ['fd00::9', '10.1.0.3/29']
  t.strictSame(net.add('c', { config: { runtimeConfig: { ips } } }), ['10.1.0.3', 'fd00::9'])
  t.equal(net.read('last_reserved_ip.0'), '10.1.0.3', 'a request moves the turn too')
})

t.test('the same address asked for twice is asked for once', async t => {
  const net = new NetworkDirectory(t.teardown)
  const config = { args: { cni: { ips: ['10.1.0.5'] } }, runtimeConfig: { ips: ['10.1.0.5/29'] } }
  t.strictSame(net.add('a', { args: { IP: '10.1.0.5' }, config }), ['10.1.0.5'])
})

t.test('a requested address that is taken is refused with its holder', async t => {
  const net = new NetworkDirectory(t.teardown)
  net.add('a')
  const error = errorOf(() => net.add('b', { args: { IP: '10.1.0.2' } }))
  t.equal(error.code, 103)
  t.equal(
    error.message,
    'failed to allocate for range 0: requested IP address 10.1.0.2 is not available in range set 10.1.0.1-10.1.0.6',
  )
  t.match(error.details, 'held by a eth0')
})

t.test('a set that fails gives back what the sets before it gave', async t => {
  const net = new NetworkDirectory(t.teardown, dual)
  net.add('a')
  const before = net.taken()
  const failed = errorOf(() => net.add('b', { config: { runtimeConfig: { ips: ['fd00::2'] } } }))
  t.match(failed.message, /^failed to allocate for range 1: /)
  t.strictSame(net.taken(), before)
  t.strictSame(net.add('c'), ['10.1.0.4', 'fd00::3'], 'and the index knows')
})

t.test('a set that fails leaves the attachment what it held before', async t => {
  const net = new NetworkDirectory(t.teardown, dual)
  net.add('a')
  rmSync(join(net.path, 'fd00::2'))
  net.add('b', { ipam: { ranges: [[{ subnet: 'fd00::/64' }]] }, config: { runtimeConfig: { ips: ['fd00::5'] } } })
  errorOf(() => net.add('a', { config: { runtimeConfig: { ips: ['fd00::5'] } } }))
  t.strictSame(net.taken(), { '10.1.0.2': 'a eth0', 'fd00::5': 'b eth0' })
})

t.test('DEL gives back everything the attachment holds, needs no ranges, and may be repeated', async t => {
  const net = new NetworkDirectory(t.teardown, dual)
  net.add('a')
  net.add('b')
  net.del('a', { ipam: {} })
  net.del('a', { ipam: {} })
  net.del('never', { ipam: { ranges: 'nonsense', subnet: 5 } })
  t.strictSame(Object.values(net.taken()), ['b eth0', 'b eth0'])
})

t.test('DEL of a network that never was makes no directory', async t => {
  const net = new NetworkDirectory(t.teardown)
  net.del('a')
  net.gc([])
  net.status()
  t.equal(existsSync(net.path), false)
})

t.test('files without an interface belong to every interface of the container', async t => {
  const net = new NetworkDirectory(t.teardown)
  net.add('x')
  net.write('10.1.0.4', 'a')
  net.write('10.1.0.5', ' b\n')
  t.strictSame(net.add('a', { ifname: 'any' }), ['10.1.0.4'])
  net.check('b')
  net.del('b', { ifname: 'other' })
  t.strictSame(net.taken(), { '10.1.0.2': 'x eth0', '10.1.0.4': 'a' })
  net.write('10.1.0.5', 'a\r\neth0')
  net.del('a')
  t.strictSame(net.taken(), { '10.1.0.2': 'x eth0', '10.1.0.4': 'a' }, 'only when it has no file with its interface')
  net.del('a')
  t.strictSame(net.taken(), { '10.1.0.2': 'x eth0' })
})

t.test('CHECK wants an address of every set, and those of prevResult', async t => {
  const net = new NetworkDirectory(t.teardown, dual)
  const prevResult = { ips: [{ address: '10.1.0.2/29' }, { address: 'fd00::2/64' }, { address: '192.168.0.1/24' }] }
  const missing = errorOf(() => net.check('a', { prevResult }))
  t.equal(missing.code, 105)
  t.equal(missing.message, 'host-local: Failed to find address added by container a')
  net.add('a')
  net.check('a', { prevResult })
  net.check('a')
  t.match(errorOf(() => net.check('a', { ifname: 'eth1' })).message, 'Failed to find address')
  const other = errorOf(() => net.check('a', { prevResult: { ips: [{ address: '10.1.0.3/29' }] } }))
  t.match([other.code, other.message], [105, 'a eth0 has address 10.1.0.3 in prevResult, but does not hold it'])
  rmSync(join(net.path, 'fd00::2'))
  const half = errorOf(() => net.check('a'))
  t.match([half.code, half.message], [105, 'a eth0 holds no address of range set 1: fd00::1-fd00::ffff:ffff:ffff:ffff'])
})

t.test('GC frees what no valid attachment holds, by interface, and torn files', async t => {
  const net = new NetworkDirectory(t.teardown, { subnet: '10.1.0.0/24' })
  for (const id of ['a', 'b', 'c']) net.add(id)
  net.add('a', { ifname: 'eth1' })
  net.write('10.1.0.9', 'a')
  net.write('10.1.0.10', 'gone')
  net.write('10.1.0.11', '')
  net.write('10.1.0.12', 'a note of somebody')
  net.gc(['a eth0', 'c eth0', 'elsewhere eth0'], { ipam: {} })
  t.strictSame(net.taken(), { '10.1.0.2': 'a eth0', '10.1.0.4': 'c eth0', '10.1.0.9': 'a' })
  net.gc([], { ipam: {} })
  t.strictSame(net.taken(), {})
  t.strictSame(net.add('d'), ['10.1.0.6'], 'and the index knows')
})

t.test('GC without a list of valid attachments frees nothing of unknown age', async t => {
  const net = new NetworkDirectory(t.teardown)
  net.add('a')
  net.write('10.1.0.5', 'b\r\neth0')
  net.gc(undefined)
  t.strictSame(net.taken(), { '10.1.0.2': 'a eth0', '10.1.0.5': 'b eth0' })
})

t.test('STATUS is 50 when a set is exhausted, and changes nothing', async t => {
  const net = new NetworkDirectory(t.teardown, { ranges: [[{ subnet: 'fd00::/64' }], [smallRange]] })
  net.status()
  for (const id of ['a', 'b', 'c', 'd']) net.add(id)
  net.status()
  net.add('e')
  const before = readdirSync(net.path).map(name => [
    name,
    net.read(name),
    statSync(join(net.path, name), { bigint: true }).mtimeNs,
  ])
  const error = errorOf(() => net.status())
  t.match([error.code, error.message], [50, 'no IP addresses available in range set: 10.1.0.1-10.1.0.6'])
  t.strictSame(
    readdirSync(net.path).map(name => [name, net.read(name), statSync(join(net.path, name), { bigint: true }).mtimeNs]),
    before,
  )
  rmSync(join(net.path, 'lock'))
  errorOf(() => net.status())
  t.equal(existsSync(join(net.path, 'lock')), false)
})

t.test('STATUS does not ask for ranges that the runtime gives with each request', async t => {
  const net = new NetworkDirectory(t.teardown, {})
  net.status({ config: { capabilities: { ipRanges: true } } })
  t.equal(errorOf(() => net.status()).message, 'no IP ranges specified')
})

t.test('resolvConf becomes the dns of the result', async t => {
  const net = new NetworkDirectory(t.teardown)
  const resolvConf = join(net.dataDir, 'resolv.conf')
  writeFileSync(
    resolvConf,
    '# c\n; d\nnameserver 192.0.2.1 ignored\n nameserver\tfd00::53 \ndomain one\ndomain two\nsearch a b\nsearch c\r\noptions ndots:5 rotate\nnameserver\nsortlist 1.2.3.4\n',
  )
  t.strictSame(hostLocal.add(net.request('ADD', 'a', { ipam: { ...smallRange, resolvConf } })).dns, {
    nameservers: ['192.0.2.1', 'fd00::53'],
    domain: 'two',
    search: ['a', 'b', 'c'],
    options: ['ndots:5', 'rotate'],
  })
  t.strictSame(hostLocal.add(net.request('ADD', 'b', { ipam: { ...smallRange, resolvConf: '' } })).dns, undefined)
})

t.test('a resolvConf that is not there is refused before an address is taken', async t => {
  const net = new NetworkDirectory(t.teardown)
  const error = errorOf(() => net.add('a', { ipam: { ...smallRange, resolvConf: '/nonexistent/resolv.conf' } }))
  t.match(
    [error.code, error.message],
    [7, '"ipam.resolvConf" is "/nonexistent/resolv.conf", but there is no such file'],
  )
  t.equal(existsSync(net.path), false)
})
