import fc from 'fast-check'
import t from 'tap'
import { formatResult, parseResult } from '../../../lib/cni/results/index.ts'
import type { CniVersion, IpConfig, Result, Route } from '../../../lib/cni/types.ts'
import { cniVersions } from '../../../lib/cni/types.ts'
import { configWith, environmentFor, invoke } from './fake-process.ts'

/** Everything that a result can hold. */
const full: Result = {
  dns: { nameservers: ['10.1.0.1'], domain: 'example.net', search: ['a.example.net'], options: ['ndots:2'] },
  interfaces: [
    { name: 'cni0', mac: '0a:00:00:00:00:01', mtu: 1500 },
    { name: 'eth0', mac: '0a:00:00:00:00:02', sandbox: '/run/netns/a', mtu: 1400, socketPath: '/s', pciID: '0:1' },
  ],
  ips: [
    { interface: 1, address: '10.1.0.5/16', gateway: '10.1.0.1' },
    { interface: 1, address: '10.1.0.6/16' },
    { interface: 1, address: '2001:db8::5/64', gateway: '2001:db8::1' },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1300, advmss: 1260, priority: 5, table: 0, scope: 0 },
    { dst: '::/0', gw: '2001:db8::1' },
    { dst: '10.2.0.0/16', table: 100, scope: 253 },
  ],
}

const dns = { nameservers: ['10.1.0.1'], domain: 'example.net', search: ['a.example.net'], options: ['ndots:2'] }
const interfaces040 = [
  { name: 'cni0', mac: '0a:00:00:00:00:01' },
  { name: 'eth0', mac: '0a:00:00:00:00:02', sandbox: '/run/netns/a' },
]

/** What `full` is in each form. */
const forms: readonly { versions: readonly CniVersion[]; document: Record<string, unknown>; readBack: Result }[] = [
  {
    versions: ['0.1.0', '0.2.0'],
    document: {
      dns,
      ip4: {
        ip: '10.1.0.5/16',
        gateway: '10.1.0.1',
        routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }, { dst: '10.2.0.0/16' }],
      },
      ip6: { ip: '2001:db8::5/64', gateway: '2001:db8::1', routes: [{ dst: '::/0', gw: '2001:db8::1' }] },
    },
    readBack: {
      dns,
      ips: [
        { address: '10.1.0.5/16', gateway: '10.1.0.1' },
        { address: '2001:db8::5/64', gateway: '2001:db8::1' },
      ],
      routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }, { dst: '10.2.0.0/16' }, { dst: '::/0', gw: '2001:db8::1' }],
    },
  },
  {
    versions: ['0.3.0', '0.3.1', '0.4.0'],
    document: {
      dns,
      interfaces: interfaces040,
      ips: [
        { version: '4', interface: 1, address: '10.1.0.5/16', gateway: '10.1.0.1' },
        { version: '4', interface: 1, address: '10.1.0.6/16' },
        { version: '6', interface: 1, address: '2001:db8::5/64', gateway: '2001:db8::1' },
      ],
      routes: full.routes,
    },
    readBack: { ...full, interfaces: interfaces040 },
  },
  {
    versions: ['1.0.0'],
    document: {
      dns,
      interfaces: interfaces040,
      ips: full.ips,
      routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }, { dst: '::/0', gw: '2001:db8::1' }, { dst: '10.2.0.0/16' }],
    },
    readBack: {
      dns,
      interfaces: interfaces040,
      ips: full.ips as IpConfig[],
      routes: [{ dst: '0.0.0.0/0', gw: '10.1.0.1' }, { dst: '::/0', gw: '2001:db8::1' }, { dst: '10.2.0.0/16' }],
    },
  },
  { versions: ['1.1.0'], document: { ...full }, readBack: full },
]

for (const { versions, document, readBack } of forms) {
  for (const version of versions) {
    t.test(`a full result of ${version} has the form of the specification, and is read back`, async t => {
      const written = formatResult(full, version)
      t.strictSame(JSON.parse(JSON.stringify(written)), { cniVersion: version, ...document })
      t.strictSame(Object.keys(written), ['cniVersion', ...Object.keys(document).sort()], 'keys in order')
      t.strictSame(parseResult(written, version), readBack)
    })
  }
}

t.test('dns is always there up to 0.4.0, and left out when empty from 1.0.0 on', async t => {
  const result: Result = { ips: [{ address: '10.1.0.5/16' }] }
  for (const version of cniVersions) {
    const expected = version.startsWith('0.') ? {} : undefined
    t.strictSame(formatResult(result, version).dns, expected, version)
    t.strictSame(formatResult({ ...result, dns: { nameservers: [], domain: '' } }, version).dns, expected, version)
  }
})

t.test('empty lists and empty texts are left out', async t => {
  t.strictSame(formatResult({ interfaces: [], ips: [], routes: [] }, '1.1.0'), { cniVersion: '1.1.0' })
  t.strictSame(formatResult({ interfaces: [], ips: [], routes: [] }, '0.4.0'), { cniVersion: '0.4.0', dns: {} })
  t.strictSame(parseResult({ ips: [{ address: '10.1.0.5/16', gateway: '' }], interfaces: [] }, '1.1.0'), {
    ips: [{ address: '10.1.0.5/16' }],
  })
})

t.test('a zero is written for table, scope and an address’s interface, and for nothing else', async t => {
  const zeros: Result = {
    interfaces: [{ name: 'eth0', mtu: 0 }],
    ips: [{ interface: 0, address: '10.1.0.5/16' }],
    routes: [{ dst: '0.0.0.0/0', mtu: 0, advmss: 0, priority: 0, table: 0, scope: 0 }],
  }
  t.strictSame(formatResult(zeros, '1.1.0'), {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth0' }],
    ips: [{ interface: 0, address: '10.1.0.5/16' }],
    routes: [{ dst: '0.0.0.0/0', table: 0, scope: 0 }],
  })
})

t.test('a result without addresses cannot be one of 0.1.0 or 0.2.0', async t => {
  for (const version of ['0.1.0', '0.2.0'] as const) {
    t.throws(() => formatResult({ interfaces: [{ name: 'eth0' }] }, version), {
      code: 1,
      message: 'cannot convert: no valid IP addresses',
    })
  }
})

t.test('an ADD whose result its version cannot hold is undone and fails', async t => {
  for (const cniVersion of ['0.1.0', '0.2.0']) {
    const { status, document, calls } = await invoke({
      environment: environmentFor('ADD'),
      config: configWith({ cniVersion, prevResult: null }),
      plugin: { add: () => ({ interfaces: [{ name: 'eth0' }] }) },
    })
    t.equal(status, 1)
    t.match(document, { cniVersion, code: 1, msg: 'cannot convert: no valid IP addresses' })
    t.same(
      calls.map(({ verb }) => verb),
      ['DEL'],
    )
  }
})

t.test('routes without an address of their family are dropped in 0.2.0', async t => {
  const result: Result = { ips: [{ address: '10.1.0.5/16' }], routes: [{ dst: '::/0' }, { dst: '10.0.0.0/8' }] }
  t.strictSame(formatResult(result, '0.2.0'), {
    cniVersion: '0.2.0',
    dns: {},
    ip4: { ip: '10.1.0.5/16', routes: [{ dst: '10.0.0.0/8' }] },
  })
})

t.test('a result without cniVersion has that of the configuration', async t => {
  t.same(parseResult({ ip4: { ip: '10.1.0.5/16' } }, '0.2.0'), { ips: [{ address: '10.1.0.5/16' }] })
  t.same(parseResult({ cniVersion: '', ip4: { ip: '10.1.0.5/16' } }, '0.1.0'), { ips: [{ address: '10.1.0.5/16' }] })
  t.same(parseResult({ ips: [{ address: '10.1.0.5/16' }] }, '1.0.0'), { ips: [{ address: '10.1.0.5/16' }] })
  t.same(parseResult(null, '1.0.0'), {}, 'null is an empty result')
})

t.test('a result of another form than the configuration’s is refused', async t => {
  const lists = { '0.2.0': '[0.1.0 0.2.0]', '0.4.0': '[0.3.0 0.3.1 0.4.0]', '1.0.0': '[1.0.0 1.1.0]' } as const
  for (const [expected, list] of Object.entries(lists) as [CniVersion, string][]) {
    for (const found of [...cniVersions, '1.2.0', 'x']) {
      const parse = () => parseResult({ cniVersion: found, ip4: null, ips: null }, expected)
      if (list.includes(found) && found !== 'x') t.doesNotThrow(parse, `${found} in ${expected}`)
      else {
        const message = `result type supports ${list} but unmarshalled CNIVersion is "${found}"`
        t.throws(parse, { code: 7, message }, `${found} in ${expected}`)
      }
    }
  }
})

t.test('keys of a result match without regard to case, null is unset, unknown keys are ignored', async t => {
  t.strictSame(
    parseResult(
      { CNIVersion: '1.1.0', IPs: [{ Address: '10.1.0.5/16', gateway: null, extra: 1 }], routes: null, more: {} },
      '1.1.0',
    ),
    { ips: [{ address: '10.1.0.5/16' }] },
  )
})

t.test('addresses are written as the kernel and Go write them', async t => {
  t.strictSame(
    parseResult(
      { ips: [{ address: '2001:DB8:0:0::5/64', gateway: '::ffff:10.0.0.1' }], routes: [{ dst: '0::/0' }] },
      '1.1.0',
    ),
    { ips: [{ address: '2001:db8::5/64', gateway: '10.0.0.1' }], routes: [{ dst: '::/0' }] },
  )
})

t.test('what a result may not hold is refused with its place and value', async t => {
  for (const [version, document, message] of [
    ['1.1.0', { ips: [{ address: '10.1.0.5' }] }, /"ips\[0\]\.address" is "10\.1\.0\.5"/],
    ['1.1.0', { ips: [{ address: '10.1.0.5/33' }] }, /"ips\[0\]\.address"/],
    ['1.1.0', { ips: [{}] }, /"ips\[0\]\.address" is missing/],
    ['1.1.0', { ips: [{ address: '10.1.0.5/16', gateway: 'x' }] }, /"ips\[0\]\.gateway" is "x"/],
    ['1.1.0', { ips: [{ address: '10.1.0.5/16', interface: -1 }] }, /"ips\[0\]\.interface" is -1/],
    ['1.1.0', { ips: {} }, /"ips" is \{\}, but must be a list/],
    ['1.1.0', { interfaces: [{ mac: 'x' }] }, /"interfaces\[0\]\.name" is missing/],
    ['1.1.0', { interfaces: [{ name: 5 }] }, /"interfaces\[0\]\.name" is 5, but must be a string/],
    ['1.1.0', { routes: [{ dst: 'default' }] }, /"routes\[0\]\.dst" is "default"/],
    ['1.1.0', { routes: [{ dst: '0.0.0.0/0', gw: '1.2.3' }] }, /"routes\[0\]\.gw" is "1\.2\.3"/],
    ['1.1.0', { routes: [{ dst: '0.0.0.0/0', table: '5' }] }, /"routes\[0\]\.table" is "5"/],
    ['1.1.0', { dns: { nameservers: 'x' } }, /"dns\.nameservers" is "x", but must be a list/],
    ['0.4.0', { ips: [{ version: 4, address: '10.1.0.5/16' }] }, /"ips\[0\]\.version" is 4/],
    ['0.2.0', { ip4: { gateway: '10.1.0.1' } }, /"ip4\.ip" is missing/],
    ['0.2.0', { ip4: { ip: 'x' } }, /"ip4\.ip" is "x"/],
    ['1.1.0', [], /not a JSON object/],
    ['1.1.0', 'text', /not a JSON object/],
  ] as const) {
    t.throws(() => parseResult(document, version), { code: 7, message }, JSON.stringify(document))
  }
})

const ip4 = fc.ipV4()
const ip6 = fc
  .tuple(fc.integer({ min: 1, max: 0xffff }), fc.integer({ min: 1, max: 0xffff }))
  .map(([a, b]) => `2001:db8::${a.toString(16)}:${b.toString(16)}`)
const ips: fc.Arbitrary<IpConfig> = fc
  .tuple(fc.boolean(), ip4, ip6, fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }), fc.boolean())
  .map(([v4, four, six, index, gateway]) => ({
    ...(index === undefined ? {} : { interface: index }),
    address: v4 ? `${four}/24` : `${six}/64`,
    ...(gateway ? { gateway: v4 ? four : six } : {}),
  }))
const routes: fc.Arbitrary<Route> = fc.record(
  {
    dst: fc.oneof(
      ip4.map(ip => `${ip}/32`),
      ip6.map(ip => `${ip}/128`),
    ),
    gw: fc.oneof(ip4, ip6),
    mtu: fc.integer({ min: 1, max: 65535 }),
    advmss: fc.integer({ min: 1, max: 65535 }),
    priority: fc.integer({ min: 1, max: 0xffffffff }),
    table: fc.integer({ min: 0, max: 0xffffffff }),
    scope: fc.integer({ min: 0, max: 255 }),
  },
  { requiredKeys: ['dst'] },
)
const name = fc.string({ minLength: 1, maxLength: 15 })
const interfaces = fc.record(
  { name, mac: name, sandbox: name, mtu: fc.integer({ min: 1, max: 65535 }), socketPath: name, pciID: name },
  { requiredKeys: ['name'] },
)
const results: fc.Arbitrary<Result> = fc.record(
  {
    dns: fc.record({ nameservers: fc.array(name, { minLength: 1 }), domain: name }),
    interfaces: fc.array(interfaces, { minLength: 1 }),
    ips: fc.array(ips, { minLength: 1 }),
    routes: fc.array(routes, { minLength: 1 }),
  },
  { requiredKeys: [] },
)

t.test('any result survives 1.1.0 whole', async t => {
  fc.assert(
    fc.property(results, result => {
      const back = parseResult(JSON.parse(JSON.stringify(formatResult(result, '1.1.0'))), '1.1.0')
      return JSON.stringify(sorted(back)) === JSON.stringify(sorted(result))
    }),
  )
  t.pass()
})

t.test('what a version keeps of a result it keeps for good: writing twice is writing once', async t => {
  fc.assert(
    fc.property(results, fc.constantFrom(...cniVersions), (result, version) => {
      if (version < '0.3.0' && result.ips === undefined) return true
      const once = JSON.stringify(formatResult(result, version))
      return JSON.stringify(formatResult(parseResult(JSON.parse(once), version), version)) === once
    }),
  )
  t.pass()
})

t.test('any JSON is read or refused with code 7, never anything else', async t => {
  const documents = fc.oneof(
    fc.jsonValue(),
    fc.record({ ips: fc.jsonValue(), routes: fc.jsonValue(), interfaces: fc.jsonValue(), dns: fc.jsonValue() }),
    fc.record({ ips: fc.array(fc.record({ address: fc.jsonValue(), gateway: fc.jsonValue() })) }),
    fc.record({ ip4: fc.record({ ip: fc.jsonValue(), routes: fc.jsonValue() }) }),
  )
  fc.assert(
    fc.property(documents, fc.constantFrom(...cniVersions), (document, version) => {
      try {
        parseResult(document, version)
        return true
      } catch (error) {
        return (error as { code?: number }).code === 7
      }
    }),
  )
  t.pass()
})

/** Keys in order, at every level. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  )
}
