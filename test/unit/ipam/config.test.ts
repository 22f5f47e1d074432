import t from 'tap'
import { formatRangeSet } from '../../../ipam/allocator/range-set.ts'
import { parseDirectory, parseHostLocalConfig } from '../../../ipam/host-local/config.ts'
import { errorOf } from './fixture.ts'
import { requestOf } from './request.ts'

const request = (config: Readonly<Record<string, unknown>>, args: Readonly<Record<string, string>> = {}) =>
  requestOf('ADD', 'a', config, { args })

const setsOf = (config: Readonly<Record<string, unknown>>) =>
  parseHostLocalConfig(request(config)).rangeSets.map(formatRangeSet)

const range = (options: Readonly<Record<string, unknown>>) => ({ ipam: { ranges: [[options]] } })
const subnet = '10.1.0.0/24'

t.test("a range has the Go plugin's defaults", async t => {
  t.strictSame(setsOf(range({ subnet })), ['10.1.0.1-10.1.0.254'])
  t.strictSame(setsOf(range({ subnet: '10.1.0.0/30' })), ['10.1.0.1-10.1.0.2'])
  t.strictSame(setsOf(range({ subnet: '2001:db8::/64' })), ['2001:db8::1-2001:db8::ffff:ffff:ffff:ffff'])
  t.strictSame(setsOf(range({ subnet: '2001:db8::/126' })), ['2001:db8::1-2001:db8::3'])
  t.strictSame(setsOf(range({ subnet, rangeStart: '', rangeEnd: '', gateway: '' })), ['10.1.0.1-10.1.0.254'])
  t.strictSame(setsOf(range({ subnet, rangeStart: '10.1.0.0', rangeEnd: '10.1.0.255' })), ['10.1.0.0-10.1.0.255'])
})

t.test('the ranges of a request come first, then the single range, then the list', async t => {
  t.strictSame(
    setsOf({
      ipam: { subnet, rangeEnd: '10.1.0.9', ranges: [[{ subnet: '10.2.0.0/24' }, { subnet: '10.3.0.0/24' }]] },
      runtimeConfig: { ipRanges: [[{ subnet: 'fd00::/64' }]] },
    }),
    ['fd00::1-fd00::ffff:ffff:ffff:ffff', '10.1.0.1-10.1.0.9', '10.2.0.1-10.2.0.254,10.3.0.1-10.3.0.254'],
  )
})

t.test('keys match without regard to case, null is unset, unknown keys are tolerated', async t => {
  const config = {
    IPAM: {
      Name: 'x',
      SUBNET: subnet,
      RangeStart: '10.1.0.7',
      routes: null,
      resolvConf: '',
      dataDir: null,
      more: [{}],
    },
    RuntimeConfig: { IPs: ['10.1.0.8'] },
  }
  const parsed = parseHostLocalConfig(request(config))
  t.strictSame(parsed.rangeSets.map(formatRangeSet), ['10.1.0.7-10.1.0.254'])
  t.equal(parsed.directory, '/var/lib/cni/networks/net')
  t.strictSame(parsed.requested.map(String), ['10,1,0,8'])
})

t.test('CNI 0.2.0 holds one address per family, and says so', async t => {
  const four = [[{ subnet }], [{ subnet: '10.2.0.0/24' }]]
  const six = [[{ subnet: 'fd00::/64' }], [{ subnet: 'fd01::/64' }]]
  for (const cniVersion of ['0.1.0', '0.2.0']) {
    for (const ranges of [four, six]) {
      const error = errorOf(() => setsOf({ cniVersion, ipam: { ranges } }))
      t.match(
        [error.code, error.message],
        [7, `CNI version ${cniVersion} does not support more than 1 address per family`],
      )
    }
    t.equal(setsOf({ cniVersion, ipam: { ranges: [[{ subnet }], [{ subnet: 'fd00::/64' }]] } }).length, 2)
  }
  t.equal(setsOf({ cniVersion: '0.3.0', ipam: { ranges: four } }).length, 2)
})

const refused: readonly (readonly [config: Readonly<Record<string, unknown>>, message: string])[] = [
  [{}, '"ipam" is missing'],
  [{ ipam: 5 }, '"ipam" is 5, but must be an object'],
  [{ ipam: {} }, 'no IP ranges specified'],
  [{ ipam: { ranges: [] } }, 'no IP ranges specified'],
  [{ ipam: { ranges: {} } }, '"ipam.ranges" is {}, but must be a list'],
  [{ ipam: { ranges: [{ subnet }] } }, '"ipam.ranges[0]" is {"subnet":"10.1.0.0/24"}, but must be a list'],
  [{ ipam: { ranges: [[]] } }, 'invalid range set 0: empty range set'],
  [{ ipam: { ranges: [[{}]] } }, '"ipam.ranges[0][0].subnet" is missing'],
  [{ ipam: { subnet: 7 } }, '"ipam.subnet" is 7, but must be a string'],
  [{ ipam: { subnet: '10.1.0.0' } }, '"ipam.subnet" is "10.1.0.0", but must be a prefix'],
  [{ ipam: { subnet: '10.1.0.0/33' } }, '"ipam.subnet" is "10.1.0.0/33", but must be a prefix'],
  [{ ipam: { subnet: '' } }, '"ipam.subnet" is "", but must be a prefix'],
  [range({ subnet: '10.1.0.0/31' }), 'invalid range set 0: Network 10.1.0.0/31 too small to allocate from'],
  [range({ subnet: '10.1.0.0/32' }), 'invalid range set 0: Network 10.1.0.0/32 too small to allocate from'],
  [range({ subnet: 'fd00::/127' }), 'invalid range set 0: Network fd00::/127 too small to allocate from'],
  [
    range({ subnet: '10.1.0.5/24' }),
    'invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network address is 10.1.0.0',
  ],
  [range({ subnet, rangeStart: '10.2.0.1' }), 'invalid range set 0: RangeStart 10.2.0.1 not in network 10.1.0.0/24'],
  [range({ subnet, rangeEnd: 'fd00::1' }), 'invalid range set 0: RangeEnd fd00::1 not in network 10.1.0.0/24'],
  [
    range({ subnet, rangeStart: '10.1.0.9', rangeEnd: '10.1.0.8' }),
    'invalid range set 0: RangeStart 10.1.0.9 is after RangeEnd 10.1.0.8 in network 10.1.0.0/24',
  ],
  [range({ subnet, rangeStart: 'first' }), '"ipam.ranges[0][0].rangeStart" is "first", but must be an address'],
  [range({ subnet, gateway: '10.1.0.1/24' }), '"ipam.ranges[0][0].gateway" is "10.1.0.1/24", but must be an address'],
  [
    range({ subnet, gateway: 'fd00::1' }),
    'invalid range set 0: Gateway fd00::1 is of another address family than network 10.1.0.0/24',
  ],
  [{ ipam: { ranges: [[{ subnet }, { subnet: 'fd00::/64' }]] } }, 'invalid range set 0: mixed address families'],
  [
    {
      ipam: {
        ranges: [
          [
            { subnet, rangeEnd: '10.1.0.9' },
            { subnet, rangeStart: '10.1.0.9' },
          ],
        ],
      },
    },
    'invalid range set 0: subnets 10.1.0.1-10.1.0.9 and 10.1.0.9-10.1.0.254 overlap',
  ],
  [
    { ipam: { ranges: [[{ subnet: 'fd00::/64' }], [{ subnet: '10.0.0.0/8' }], [{ subnet }]] } },
    'range set 1 overlaps with 2',
  ],
  [
    { ipam: { subnet }, runtimeConfig: { ipRanges: [[{ subnet: '10.1.0.300/24' }]] } },
    '"runtimeConfig.ipRanges[0][0].subnet" is "10.1.0.300/24", but must be a prefix',
  ],
  [{ ipam: { subnet, dataDir: 'var/lib' } }, '"ipam.dataDir" is "var/lib", but must match ^(/|$)'],
  [{ ipam: { subnet, routes: [{}] } }, '"ipam.routes[0].dst" is missing'],
  [{ ipam: { subnet, routes: [{ dst: 'default' }] } }, '"ipam.routes[0].dst" is "default", but must be a prefix'],
  [
    { ipam: { subnet, routes: [{ dst: '0.0.0.0/0', gw: '10.1' }] } },
    '"ipam.routes[0].gw" is "10.1", but must be an address',
  ],
  [{ ipam: { subnet }, args: { cni: { ips: '10.1.0.5' } } }, '"args.cni.ips" is "10.1.0.5", but must be a list'],
  [{ ipam: { subnet }, args: { cni: { ips: ['x'] } } }, 'cannot understand ip: args.cni.ips[0] is "x"'],
  [{ ipam: { subnet }, runtimeConfig: { ips: [''] } }, 'cannot understand ip: runtimeConfig.ips[0] is ""'],
  [
    { ipam: { subnet }, runtimeConfig: { ips: ['10.1.0.1'] } },
    "failed to allocate for range 0: requested ip 10.1.0.1 is subnet's gateway",
  ],
  [{ ipam: { subnet }, runtimeConfig: { ips: ['10.2.0.9'] } }, 'failed to allocate all requested IPs: 10.2.0.9'],
  [
    { ipam: { subnet }, runtimeConfig: { ips: ['10.1.0.8', '10.1.0.9'] } },
    'failed to allocate all requested IPs: 10.1.0.9',
  ],
]

t.test('what cannot be right is refused with code 7, the value and a remedy', async t => {
  for (const [config, message] of refused) {
    const error = errorOf(() => parseHostLocalConfig(request(config)))
    t.strictSame([error.code, error.message], [7, message])
    t.ok(error.details, `"${message}" has a remedy`)
  }
})

t.test('a bad address in CNI_ARGS is an error of the environment', async t => {
  const error = errorOf(() => parseHostLocalConfig(request({ ipam: { subnet } }, { IP: '10.1.0.555' })))
  t.strictSame([error.code, error.message], [4, 'cannot understand ip: IP in CNI_ARGS is "10.1.0.555"'])
  t.strictSame(parseHostLocalConfig(request({ ipam: { subnet } }, { IP: '' })).requested, [undefined])
})

t.test('the directory alone is read from any configuration that names it', async t => {
  t.equal(parseDirectory(request({})), '/var/lib/cni/networks/net')
  t.equal(parseDirectory(request({ ipam: null })), '/var/lib/cni/networks/net')
  t.equal(parseDirectory(request({ ipam: { DataDir: '/run/x', ranges: 7 } })), '/run/x/net')
  for (const dataDir of ['relative', 5, {}])
    t.equal(errorOf(() => parseDirectory(request({ ipam: { dataDir } }))).code, 7, JSON.stringify(dataDir))
})
