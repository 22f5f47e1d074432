/** The host plugin's other verbs: CHECK, STATUS, DEL and GC. */

import t from 'tap'
import { assertSameSnapshot, type Host, snapshot, withHost } from '../harness/index.ts'
import { mustRun, prepareUplink, run } from './host-fixture.ts'

interface Damage {
  readonly what: string
  readonly commands: string
  readonly says: RegExp
}

const damages: readonly Damage[] = [
  {
    what: 'an address is gone',
    commands: 'addr del 198.51.100.1/24 dev uplink',
    says: /^address 198\.51\.100\.1\/24 is/,
  },
  {
    what: 'an address has another prefix length',
    commands: 'addr add 198.51.100.1/25 dev uplink\naddr del 198.51.100.1/24 dev uplink',
    says: /^address 198\.51\.100\.1\/24 is gone from "uplink"$/,
  },
  {
    what: 'an address has moved to another link',
    commands: `
addr del 198.51.100.1/24 dev uplink
link add br7 up type bridge
addr add 198.51.100.1/24 dev br7`,
    says: /^address 198\.51\.100\.1\/24 is gone from "uplink"$/,
  },
  { what: 'the link is down', commands: 'link set uplink down', says: /^interface "uplink" of the host is down$/ },
  {
    what: 'the link has another MAC address',
    commands: 'link set uplink address 02:00:00:00:00:07',
    says: /has MAC 02:00:00:00:00:07, prevResult says /,
  },
  { what: 'the link is gone', commands: 'link del uplink', says: /^interface "uplink" is gone from the host$/ },
  {
    what: 'the default route is gone',
    commands: 'route del default via 198.51.100.2',
    says: /^the host has no route to 0\.0\.0\.0\/0 via 198\.51\.100\.2 any more$/,
  },
  {
    what: 'the default route goes elsewhere',
    commands: 'route replace default via 198.51.100.9',
    says: /^the host has no route to 0\.0\.0\.0\/0 via 198\.51\.100\.2 any more$/,
  },
]

t.test('CHECK finds what is no longer as the result says', async t => {
  for (const { what, commands, says } of damages) {
    await t.test(what, t =>
      withHost(t, host => {
        prepareUplink(host)
        const { result } = mustRun(host, 'ADD')
        t.equal(mustRun(host, 'CHECK', { prevResult: result }).stdout, '', 'in order before')
        host.ip(commands)
        t.match(run(host, 'CHECK', { prevResult: result }).error, { code: 105, msg: says, details: /.+/ })
      }),
    )
  }
})

t.test('CHECK does not mind what has come since, nor what other plugins have told', t =>
  withHost(t, host => {
    prepareUplink(host)
    const { result } = mustRun(host, 'ADD')
    host.ip(`
addr add 198.51.100.7/24 dev uplink
link set uplink mtu 1400
route add default via 198.51.100.9 metric 50
link add br7 up type bridge
addr add 10.7.0.1/24 dev br7`)
    const prevResult = {
      ...result,
      interfaces: [...(result?.interfaces ?? []), { name: 'eth0', sandbox: '/run/netns/other' }],
      ips: [...(result?.ips ?? []), { interface: 1, address: '10.99.0.1/24' }],
    }
    t.equal(mustRun(host, 'CHECK', { prevResult }).stdout, '')
    t.equal(mustRun(host, 'CHECK', { prevResult }, { netns: undefined }).stdout, '', 'nor that no namespace is named')
  }),
)

t.test('CHECK works with results of every version that has it, and wants one', t =>
  withHost(t, host => {
    prepareUplink(host)
    for (const cniVersion of ['0.4.0', '1.0.0', '1.1.0']) {
      const { json } = mustRun(host, 'ADD', { cniVersion })
      t.equal(mustRun(host, 'CHECK', { cniVersion, prevResult: json }).stdout, '', cniVersion)
    }
    t.match(run(host, 'CHECK').error, { code: 7, msg: /prevResult missing/ })
    t.match(run(host, 'CHECK', { cniVersion: '0.3.1' }).error, { code: 1 })
  }),
)

const status = (host: Host, keys: object = {}) => run(host, 'STATUS', keys, { netns: undefined }).error

t.test('STATUS tells a host without a network from one that only lacks what was chosen', t =>
  withHost(t, host => {
    t.match(status(host), { code: 51, msg: /^no interface of the host but loopback is up/ })
    host.ip('addr add 10.7.0.1/32 dev lo')
    t.match(status(host), { code: 51 }, 'whatever addresses loopback has')
    host.ip('link add br7 up type bridge\naddr flush dev lo to 10.7.0.1')
    t.match(status(host), { code: 50, msg: /has an address that others can reach/ })
    host.ip('addr add 10.7.0.1/24 dev br7')
    t.equal(status(host), undefined)
    t.match(status(host, { interfaces: ['eth*'] }), { code: 50, msg: /"interfaces" \["eth\*"\]/ })
    t.match(status(host, { interfaces: 'eth0' }), { code: 7 }, 'a wrong configuration is told as such')
  }),
)

t.test('DEL succeeds with anything, and GC with any list; neither changes anything', t =>
  withHost(t, host => {
    prepareUplink(host)
    const container = host.createContainer()
    const before = [snapshot(host), snapshot(container)] as const
    const keys: readonly object[] = [
      {},
      { prevResult: mustRun(host, 'ADD').result },
      { prevResult: { cniVersion: '1.1.0', ips: [{ address: 'broken' }] } },
      { interfaces: 'broken', ipam: { type: 'host-local' }, runtimeConfig: { portMappings: 'broken' } },
    ]
    for (const netns of [host, container, '', undefined, '/run/netns/cnikit-none', '/dev/null', '/proc/self/ns/mnt'])
      for (const more of keys) t.equal(mustRun(host, 'DEL', more, { netns }).stdout, '')
    for (const more of [{}, { 'cni.dev/valid-attachments': [] }])
      t.equal(mustRun(host, 'GC', more, { containerId: undefined, netns: undefined }).stdout, '')
    assertSameSnapshot(t, before[0], snapshot(host), 'the host')
    assertSameSnapshot(t, before[1], snapshot(container), 'a container')
  }),
)
