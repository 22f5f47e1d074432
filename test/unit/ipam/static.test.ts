/** Which addresses and gateways static gives, and what it refuses. */

import t from 'tap'
import { parseStaticConfig } from '../../../ipam/static/config.ts'
import { staticIpam } from '../../../ipam/static/plugin.ts'
import type { AttachmentRequest, Command, Result } from '../../../lib/cni/types.ts'
import { errorOf } from './fixture.ts'
import { type RuntimeGiven, requestOf } from './request.ts'

interface Given extends RuntimeGiven {
  readonly ipam?: unknown
  readonly ips?: unknown
  readonly argsIps?: unknown
  readonly command?: Command
  readonly config?: Readonly<Record<string, unknown>>
}

function request({ ipam, ips, argsIps, command = 'ADD', config, ...given }: Given): AttachmentRequest {
  const keys = {
    ...(ipam === undefined ? {} : { ipam }),
    ...(ips === undefined ? {} : { runtimeConfig: { ips } }),
    ...(argsIps === undefined ? {} : { args: { cni: { ips: argsIps } } }),
    ...config,
  }
  return requestOf(command, 'a', keys, given)
}

const ipsOf = (given: Given) =>
  staticIpam.add(request(given)).ips?.map(({ address, gateway }) => (gateway ? `${address} via ${gateway}` : address))

const addresses = [
  { address: '10.1.0.5/24', gateway: '10.1.0.1' },
  { address: '10.2.0.5/16', gateway: '10.2.255.254' },
  { address: 'fd00::5/64', gateway: 'fd00::1' },
  { address: '192.0.2.5/24' },
]
const ipam = { addresses }

t.test('the addresses of the configuration, with their gateways, routes and DNS', async t => {
  const routes = [
    { dst: '0.0.0.0/0' },
    { dst: '2001:db8::/32', gw: 'fd00::9', mtu: 1400, advmss: 1300, priority: 7, table: 100, scope: 0 },
  ]
  const dns = { nameservers: ['10.1.0.1'], domain: 'example.org', search: ['example.org'], options: ['ndots:2'] }
  t.strictSame(staticIpam.add(request({ ipam: { addresses: addresses.slice(0, 1), routes, dns } })), {
    ips: [{ address: '10.1.0.5/24', gateway: '10.1.0.1' }],
    routes,
    dns,
  })
  t.strictSame(ipsOf({ ipam }), [
    '10.1.0.5/24 via 10.1.0.1',
    '10.2.0.5/16 via 10.2.255.254',
    'fd00::5/64 via fd00::1',
    '192.0.2.5/24',
  ])
})

t.test('what is written is given in canonical form', async t => {
  t.strictSame(ipsOf({ ipam: { addresses: [{ address: 'FD00:0::5/64', gateway: 'fd00:0:0::1' }] } }), [
    'fd00::5/64 via fd00::1',
  ])
  t.strictSame(ipsOf({ ipam: { addresses: [{ address: '10.1.0.5/24', gateway: '' }], routes: null, dns: {} } }), [
    '10.1.0.5/24',
  ])
  const config = { IPAM: { Addresses: [{ Address: '10.1.0.5/24', GateWay: '10.1.0.1' }], name: 'x' } }
  t.strictSame(ipsOf({ config }), ['10.1.0.5/24 via 10.1.0.1'])
})

t.test('addresses of the runtime take the place of those of the configuration', async t => {
  t.strictSame(ipsOf({ ipam, argsIps: ['10.9.0.7/24'] }), ['10.9.0.7/24'])
  t.strictSame(ipsOf({ ipam, ips: ['10.9.0.8/24'] }), ['10.9.0.8/24'])
  t.strictSame(ipsOf({ ipam, argsIps: ['10.9.0.7/24'], ips: ['10.9.0.8/24'] }), ['10.9.0.8/24'])
  t.strictSame(ipsOf({ ipam: {}, ips: ['10.9.0.8/24'] }), ['10.9.0.8/24'])
  t.strictSame(ipsOf({ ipam: { addresses: [addresses[0]] }, argsIps: [], ips: [] }), ['10.1.0.5/24 via 10.1.0.1'])
})

t.test('the gateways of the configuration stay with addresses of the runtime', async t => {
  t.strictSame(ipsOf({ ipam, ips: ['10.1.0.77/24', 'fd00::77/64'] }), [
    '10.1.0.77/24 via 10.1.0.1',
    'fd00::77/64 via fd00::1',
  ])
  t.strictSame(ipsOf({ ipam, argsIps: ['10.1.0.5/24'] }), ['10.1.0.5/24 via 10.1.0.1'])
  t.strictSame(ipsOf({ ipam, ips: ['192.0.2.9/24'] }), ['192.0.2.9/24'], 'none where the configuration has none')
  t.strictSame(ipsOf({ ipam, ips: ['10.3.0.9/24'] }), ['10.3.0.9/24'], 'none in another subnet')
})

t.test('a gateway that a smaller subnet cannot reach is not given', async t => {
  t.strictSame(ipsOf({ ipam, ips: ['10.2.0.9/24'] }), ['10.2.0.9/24'])
  t.strictSame(ipsOf({ ipam, ips: ['10.2.255.9/24'] }), ['10.2.255.9/24 via 10.2.255.254'])
})

t.test('the same address counts before the same subnet, and a smaller subnet before a larger', async t => {
  const nested = [
    { address: '10.1.0.5/16', gateway: '10.1.0.1' },
    { address: '10.1.2.5/24', gateway: '10.1.2.1' },
    { address: '10.1.2.6/24', gateway: '10.1.2.2' },
  ]
  t.strictSame(ipsOf({ ipam: { addresses: nested }, ips: ['10.1.2.6', '10.1.2.9', '10.1.9.9'] }), [
    '10.1.2.6/24 via 10.1.2.2',
    '10.1.2.9/24 via 10.1.2.1',
    '10.1.9.9/16 via 10.1.0.1',
  ])
})

t.test('an address without a prefix length has that of the subnet that it lies in', async t => {
  t.strictSame(ipsOf({ ipam, ips: ['10.2.3.4', 'fd00::9'] }), [
    '10.2.3.4/16 via 10.2.255.254',
    'fd00::9/64 via fd00::1',
  ])
  t.strictSame(ipsOf({ ipam, argsIps: ['192.0.2.9'] }), ['192.0.2.9/24'])
  t.strictSame(ipsOf({ ipam: { addresses: [addresses[0]] }, args: { IP: '10.1.0.6' } }), [
    '10.1.0.5/24 via 10.1.0.1',
    '10.1.0.6/24 via 10.1.0.1',
  ])
})

t.test('addresses of CNI_ARGS come in addition, gateways go to the addresses of their subnets', async t => {
  const one = { addresses: [{ address: '10.1.0.5/24' }] }
  t.strictSame(ipsOf({ ipam: one, args: { IP: '10.2.0.5/24, fd00::5/64', GATEWAY: '10.2.0.1,fd00::1' } }), [
    '10.1.0.5/24',
    '10.2.0.5/24 via 10.2.0.1',
    'fd00::5/64 via fd00::1',
  ])
  t.strictSame(ipsOf({ ipam: {}, args: { IP: '10.2.0.5/24', GATEWAY: '10.2.0.1' } }), ['10.2.0.5/24 via 10.2.0.1'])
  t.strictSame(ipsOf({ ipam, ips: ['10.1.0.9/24'], args: { GATEWAY: '10.1.0.254' } }), ['10.1.0.9/24 via 10.1.0.254'])
  t.strictSame(ipsOf({ ipam: one, args: { IP: '10.1.0.5/24', GATEWAY: '' } }), ['10.1.0.5/24'], 'asked for twice')
  t.strictSame(ipsOf({ ipam: one, args: { IP: '', IgnoreUnknown: '1' } }), ['10.1.0.5/24'])
})

t.test('what works with the Go plugin is not refused', async t => {
  const accepted: readonly (readonly [address: string, gateway?: string])[] = [
    ['10.1.0.5/24', '10.9.0.1'], // a gateway that a route makes reachable
    ['10.1.0.5/32', '169.254.1.1'],
    ['10.1.0.0/31', '10.1.0.1'],
    ['10.1.0.1/31', '10.1.0.0'],
    ['10.1.0.0/32'],
    ['fd00::5/128', 'fe80::1'],
    ['fd00::/64'],
    ['10.1.0.5/24', '10.1.0.5'],
    ['127.0.0.5/8'],
  ]
  for (const [address, gateway] of accepted)
    t.strictSame(ipsOf({ ipam: { addresses: [{ address, ...(gateway && { gateway }) }] } }), [
      gateway ? `${address} via ${gateway}` : address,
    ])
  const twice = [{ address: '10.1.0.5/24' }, { address: '10.1.0.5/16' }]
  t.strictSame(ipsOf({ ipam: { addresses: twice } }), ['10.1.0.5/24', '10.1.0.5/16'])
})

const one = (address: unknown, gateway?: unknown) => ({ ipam: { addresses: [{ address, gateway }] } })
const refused: readonly (readonly [given: Given, code: number, message: string | RegExp])[] = [
  [{}, 7, '"ipam" is missing'],
  [{ ipam: 5 }, 7, '"ipam" is 5, but must be an object'],
  [{ ipam: {} }, 7, 'there is no address to give'],
  [{ ipam: { addresses: [] } }, 7, 'there is no address to give'],
  [{ ipam: { addresses: {} } }, 7, '"ipam.addresses" is {}, but must be a list'],
  [{ ipam: { addresses: ['10.1.0.5/24'] } }, 7, '"ipam.addresses[0]" is "10.1.0.5/24", but must be an'],
  [{ ipam: { addresses: [{}] } }, 7, '"ipam.addresses[0].address" is missing'],
  [one(10), 7, '"ipam.addresses[0].address" is 10, but must be a string'],
  [one('10.1.0.5'), 7, '"ipam.addresses[0].address" is "10.1.0.5", but must be a prefix'],
  [one('10.1.0.5/33'), 7, '"ipam.addresses[0].address" is "10.1.0.5/33", but must be a prefix'],
  [one('ten'), 7, '"ipam.addresses[0].address" is "ten", but must be a prefix'],
  [one('10.1.0.5/24', '10.1.0'), 7, '"ipam.addresses[0].gateway" is "10.1.0", but must be an address'],
  [one('10.1.0.5/24', '10.1.0.1/24'), 7, '"ipam.addresses[0].gateway" is "10.1.0.1/24", but must be an address'],
  [
    one('10.1.0.5/24', 'fd00::1'),
    7,
    '"ipam.addresses[0].gateway" is fd00::1, of another address family than 10.1.0.5/24',
  ],
  [
    one('fd00::5/64', '10.1.0.1'),
    7,
    '"ipam.addresses[0].gateway" is 10.1.0.1, of another address family than fd00::5/64',
  ],
  [one('10.1.0.0/24'), 7, '"ipam.addresses[0].address" is 10.1.0.0/24, the address of the network itself'],
  [one('10.1.0.255/24'), 7, `"ipam.addresses[0].address" is 10.1.0.255/24, the subnet's broadcast address`],
  [one('224.0.0.5/24'), 7, '"ipam.addresses[0].address" is 224.0.0.5/24, a multicast address'],
  [one('ff02::5/64'), 7, '"ipam.addresses[0].address" is ff02::5/64, a multicast address'],
  [one('0.0.0.0/0'), 7, '"ipam.addresses[0].address" is 0.0.0.0/0, the unspecified address'],
  [one('::/64'), 7, '"ipam.addresses[0].address" is ::/64, the unspecified address'],
  [
    { ipam: { addresses: [addresses[0], { address: '10.1.0.5/24' }] } },
    7,
    '"ipam.addresses[1].address" is 10.1.0.5/24, which "ipam.addresses[0].address" is already',
  ],
  [{ ipam: { addresses: [{ address: 'fd00::5/64' }, { address: 'fd00:0::5/48' }] } }, 7, /is already$/],
  [{ ipam: { addresses, routes: [{ dst: 'all' }] } }, 7, '"ipam.routes[0].dst" is "all", but must be a prefix'],
  [
    { ipam: { addresses, routes: [{ dst: '::/0', gw: '10.1.0.1' }] } },
    7,
    /^"ipam.routes\[0\].gw" is "10.1.0.1", of another/,
  ],
  [
    { ipam: { addresses, routes: [{ dst: '::/0', mtu: -1 }] } },
    7,
    '"ipam.routes[0].mtu" is -1, but must be an integer',
  ],
  [{ ipam: { addresses, dns: { nameservers: '10.1.0.1' } } }, 7, '"ipam.dns.nameservers" is "10.1.0.1", but must be'],
  [{ ipam, ips: '10.1.0.5/24' }, 7, '"runtimeConfig.ips" is "10.1.0.5/24", but must be a list'],
  [
    { ipam, ips: ['10.1.0.5/24', '10.1.0.5'] },
    7,
    '"runtimeConfig.ips[1]" is 10.1.0.5/24, which "runtimeConfig.ips[0]" is already',
  ],
  [
    { ipam, ips: ['172.16.0.5'] },
    7,
    '"runtimeConfig.ips[0]" is "172.16.0.5", without a prefix length and in the subnet of no',
  ],
  [{ ipam, ips: ['10.1.0.0'] }, 7, '"runtimeConfig.ips[0]" is 10.1.0.0/24, the address of the network itself'],
  [{ ipam, argsIps: ['five'] }, 7, '"args.cni.ips[0]" is "five", but must be an address with its prefix length'],
  [{ ipam, args: { IP: '10.1.0.9/24,' } }, 4, 'IP in CNI_ARGS is "", but must be an address with its prefix length'],
  [{ ipam, args: { IP: '172.16.0.5' } }, 4, 'IP in CNI_ARGS is "172.16.0.5", without a prefix length'],
  [
    { ipam, args: { IP: '10.7.0.5/24,10.7.0.5/24' } },
    4,
    'IP in CNI_ARGS is 10.7.0.5/24, which IP in CNI_ARGS is already',
  ],
  [{ ipam, args: { GATEWAY: '10.1.0.1/24' } }, 4, 'GATEWAY in CNI_ARGS is "10.1.0.1/24", but must be an address'],
  [
    { ipam, args: { GATEWAY: '172.16.0.1' } },
    4,
    'GATEWAY in CNI_ARGS is 172.16.0.1, which is in the subnet of no address',
  ],
  [{ ipam, cniVersion: '0.2.0' }, 7, 'CNI version 0.2.0 does not support more than 1 address per family'],
]

t.test('what cannot work is refused, with the key, the value and the code of its place', async t => {
  for (const [given, code, message] of refused) {
    const error = errorOf(() => staticIpam.add(request(given)))
    const claim = JSON.stringify(given)
    t.equal(error.code, code, claim)
    if (typeof message === 'string') t.ok(error.message.startsWith(message), `${claim}: ${error.message}`)
    else t.match(error.message, message, claim)
    t.ok(error.details, `${claim}: a remedy`)
  }
})

t.test('CNI 0.2.0 can have one address of each family', async t => {
  const both = { addresses: [addresses[0], addresses[2]] }
  t.equal(parseStaticConfig(request({ ipam: both, cniVersion: '0.2.0' })).addresses.length, 2)
})

t.test('CHECK compares addresses and gateways with the result of ADD', async t => {
  const check = (ips: Result['ips'], given: Given = { ipam: { addresses: addresses.slice(0, 1) } }) =>
    staticIpam.check(request({ ...given, command: 'CHECK', prevResult: ips === undefined ? {} : { ips } }))
  const good = { address: '10.1.0.5/24', gateway: '10.1.0.1' }
  t.doesNotThrow(() => check([{ address: '10.9.0.1/24' }, good]), 'other plugins may have added addresses')
  t.doesNotThrow(() => check([{ address: '192.0.2.5/24', gateway: '192.0.2.1' }], one('192.0.2.5/24')))
  t.doesNotThrow(() => check([{ ...good, address: '10.1.0.9/24' }], { ipam, ips: ['10.1.0.9'] }))
  for (const [ips, message] of [
    [undefined, 'address 10.1.0.5/24 of the configuration is not in prevResult'],
    [[{ ...good, address: '10.1.0.5/16' }], 'address 10.1.0.5/24 of the configuration is not in prevResult'],
    [
      [{ ...good, gateway: '10.1.0.2' }],
      'the gateway of 10.1.0.5/24 is 10.1.0.2 in prevResult, but 10.1.0.1 in the configuration',
    ],
    [
      [{ address: good.address }],
      'the gateway of 10.1.0.5/24 is absent in prevResult, but 10.1.0.1 in the configuration',
    ],
  ] as const) {
    const error = errorOf(() => check(ips?.map(ip => ({ ...ip }))))
    t.strictSame([error.code, error.message], [105, message])
  }
})

t.test('DEL and GC succeed whatever the configuration says; STATUS examines it', async t => {
  const wrong = { ipam: { addresses: 'none' } }
  t.doesNotThrow(() => staticIpam.del(request({ ...wrong, command: 'DEL' })))
  t.doesNotThrow(() => staticIpam.gc({ ...request(wrong), command: 'GC', validAttachments: [] }))
  t.equal(errorOf(() => staticIpam.status(request({ ...wrong, command: 'STATUS' }))).code, 7)
  t.doesNotThrow(() => staticIpam.status(request({ ipam: {}, command: 'STATUS' })), 'addresses may come with each ADD')
})
