/** The host plugin's result: what it tells of the host, and that it changes nothing. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type CniVersion, cniVersions } from '../../lib/cni/types.ts'
import { assertSameSnapshot, type Host, snapshot, withHost } from '../harness/index.ts'
import { mustRun, prepareUplink, run } from './host-fixture.ts'

/** Without name servers, which are the machine's. */
function withoutDns(answer: { readonly result: object | undefined }): object {
  const { dns: _, ...rest } = answer.result as { dns?: object }
  return rest
}

/** The whole document, by version. */
function expected(version: CniVersion, { interfaces, ips, routes }: ReturnType<typeof prepareUplink>): object {
  const [ipv4, ipv6] = ips
  const [route4, route6] = routes.map(({ dst, gw }) => ({ dst, gw }))
  if (version === '0.1.0' || version === '0.2.0') {
    return {
      cniVersion: version,
      ip4: { ip: ipv4?.address, gateway: ipv4?.gateway, routes: [route4] },
      ip6: { ip: ipv6?.address, gateway: ipv6?.gateway, routes: [route6] },
    }
  }
  const plain = interfaces.map(({ name, mac }) => ({ name, mac }))
  if (version === '1.1.0') return { cniVersion: version, interfaces, ips, routes }
  if (version === '1.0.0') return { cniVersion: version, interfaces: plain, ips, routes: [route4, route6] }
  const withVersion = [
    { version: '4', ...ipv4 },
    { version: '6', ...ipv6 },
  ]
  // As in Go, routes keep their 1.1.0 fields there.
  return { cniVersion: version, interfaces: plain, ips: withVersion, routes }
}

t.test('ADD tells the interfaces, addresses and routes of the host, in every version, and changes nothing', t =>
  withHost(t, host => {
    const network = prepareUplink(host)
    const before = snapshot(host)
    for (const cniVersion of cniVersions) {
      const answer = mustRun(host, 'ADD', { cniVersion })
      t.match(withoutDns(answer), expected(cniVersion, network), cniVersion)
      t.equal(answer.stderr, '')
      mustRun(host, 'DEL', { cniVersion, prevResult: answer.result })
    }
    assertSameSnapshot(t, before, snapshot(host), 'the host is as before')
  }),
)

t.test('the host’s namespace may be named by any path, or not at all', t =>
  withHost(t, async host => {
    const network = prepareUplink(host)
    const process = host.start(['sleep', '100'])
    const child = `/proc/${process.pid}/ns/net`
    // Until nsenter has gone inside, the process is in the namespace of the test.
    while (run(host, 'ADD', {}, { netns: child }).status !== 0 && process.running);
    for (const netns of [host.path, child, '/proc/self/ns/net', '', undefined])
      t.match(mustRun(host, 'ADD', {}, { netns }).result, network, String(netns))
  }),
)

t.test('a namespace that is not the host’s is refused, and so is what is none', t =>
  withHost(t, host => {
    prepareUplink(host)
    const container = host.createContainer()
    const before = snapshot(container)
    const { result } = mustRun(host, 'ADD')
    for (const command of ['ADD', 'CHECK']) {
      t.match(run(host, command, { prevResult: result }, { netns: container }).error, {
        code: 8,
        msg: `namespace "${container.path}" is not the host's`,
        details: /bridge, or run the container with host networking/,
      })
      t.match(run(host, command, { prevResult: result }, { netns: '/run/netns/cnikit-none' }).error, { code: 8 })
    }
    assertSameSnapshot(t, before, snapshot(container), 'the container is as before')
  }),
)

interface Made {
  readonly what: string
  readonly commands: string
  /** Lines of sysctls to be set first: "name=value". */
  readonly sysctls?: readonly string[]
  /** What "ip address" must say then, or the case shows nothing. */
  readonly premise?: RegExp
  /** Names of interfaces and the addresses that they have in the result, beside the uplink's. */
  readonly told: Readonly<Record<string, readonly string[]>>
}

const made: readonly Made[] = [
  {
    what: 'a bridge with an address, and not its port',
    commands: `
link add br7 up type bridge
addr add 10.7.0.1/16 dev br7
link add port7 up type veth peer name end7
link set port7 master br7
addr add 10.77.0.1/16 dev port7`,
    told: { br7: ['10.7.0.1/16'] },
  },
  {
    what: 'no host end of a point-to-point veth',
    commands: 'link add veth7 up type veth peer name end7\naddr add 10.7.0.1/32 dev veth7',
    told: {},
  },
  {
    what: 'a veth with a network behind it, as a host has that is a container itself',
    commands: 'link add eth7 up type veth peer name end7\naddr add 10.7.0.1/32 dev eth7\naddr add 10.8.0.1/24 dev eth7',
    told: { eth7: ['10.7.0.1/32', '10.8.0.1/24'] },
  },
  { what: 'no link that is down', commands: 'link add br7 type bridge\naddr add 10.7.0.1/16 dev br7', told: {} },
  {
    what: 'no link-local address, and no link that has nothing else',
    commands: `
link add br7 up type bridge
addr add 169.254.7.1/16 dev br7
addr add fe80::7/64 dev br7 nodad
link add br8 up type bridge
addr add 169.254.8.1/16 dev br8
addr add fd00:8::1/64 dev br8 nodad`,
    told: { br8: ['fd00:8::1/64'] },
  },
  {
    what: 'no deprecated and no temporary IPv6 address',
    sysctls: ['net.ipv6.conf.default.use_tempaddr=2'],
    premise: /temporary(.|\n)*deprecated|deprecated(.|\n)*temporary/,
    commands: `
link add br7 up type bridge
addr add fd00:7::1/64 dev br7 nodad mngtmpaddr
addr add fd00:7::2/64 dev br7 nodad preferred_lft 0`,
    told: { br7: ['fd00:7::1/64'] },
  },
  {
    what: 'an address on loopback that is no loopback address, as of a router',
    commands: 'addr add 10.7.0.1/32 dev lo\naddr add fd00:7::1/128 dev lo',
    told: { lo: ['10.7.0.1/32', 'fd00:7::1/128'] },
  },
  {
    what: 'a tunnel, which has no MAC address',
    commands: 'tuntap add tun7 mode tun\naddr add 10.7.0.1/24 dev tun7\nlink set tun7 up',
    told: { tun7: ['10.7.0.1/24'] },
  },
]

t.test('of the host’s interfaces, those are told that others can reach it by', async t => {
  for (const { what, commands, sysctls = [], premise = /inet/, told } of made) {
    await t.test(what, t =>
      withHost(t, host => {
        prepareUplink(host)
        for (const line of sysctls) host.output(['sysctl', '-qw', line])
        host.ip(commands)
        t.match(host.output(['ip', 'address']), premise)
        const { interfaces = [], ips = [] } = mustRun(host, 'ADD').result ?? {}
        const [uplink, ...others] = interfaces
        t.equal(uplink?.name, 'uplink', 'the one with the default route comes first')
        t.same(
          Object.fromEntries(
            others.map(({ name }, index) => [
              name,
              ips.filter(ip => ip.interface === index + 1).map(({ address }) => address),
            ]),
          ),
          told,
        )
        if ('tun7' in told) t.strictSame(others[0], { name: 'tun7', mtu: 1500 })
      }),
    )
  }
})

/** Three links with addresses, the last of which has an alternative name. */
function prepareThree(host: Host): void {
  host.ip(`
link add eth1 up type bridge
addr add 10.1.0.1/24 dev eth1
link add eth2 up type bridge
addr add 10.2.0.1/24 dev eth2
link add wan up type bridge
link property add dev wan altname enp0s31f6
addr add 10.3.0.1/24 dev wan
route add default via 10.2.0.254`)
}

t.test('the key "interfaces" chooses among them, by names and patterns', t =>
  withHost(t, host => {
    prepareThree(host)
    const chosen: readonly [patterns: readonly string[], names: readonly string[]][] = [
      [[], ['eth2', 'eth1', 'wan']],
      [['eth1'], ['eth1']],
      [['eth*'], ['eth2', 'eth1']],
      [['*'], ['eth2', 'eth1', 'wan']],
      [['!eth*'], ['wan']],
      [['!eth1'], ['eth2', 'wan']],
      [
        ['*1', 'w*n'],
        ['eth1', 'wan'],
      ],
      [
        ['e*', '!*2'],
        ['eth1', 'wan'],
      ],
      [['enp*', '!eth*'], ['wan']],
    ]
    for (const [interfaces, names] of chosen) {
      const { result } = mustRun(host, 'ADD', { interfaces })
      t.same(
        result?.interfaces?.map(one => one.name),
        names,
        JSON.stringify(interfaces),
      )
    }
    const { result } = mustRun(host, 'ADD', { interfaces: ['eth1'] })
    t.same(result?.ips, [{ interface: 0, address: '10.1.0.1/24' }])
    t.notOk(result?.routes, 'nor routes of others')
  }),
)

t.test('routes are those of the main table that say how the world is reached', t =>
  withHost(t, host => {
    host.ip(`
link add eth1 up type bridge
addr add 10.1.0.1/24 dev eth1
addr add fd00:1::1/64 dev eth1 nodad
link add eth2 up type bridge
addr add 10.2.0.1/24 dev eth2
link add gone up type bridge
route add default via 10.1.0.254 metric 200 mtu 1400 advmss 1300
route add default via 10.2.0.254 metric 100
route add 10.9.0.0/16 proto static nexthop via 10.1.0.9 nexthop via 10.2.0.9
route add 10.10.0.0/16 dev eth1 proto dhcp
route add blackhole 10.11.0.0/16
route add 10.12.0.0/16 via 10.1.0.12 proto bird
route add 10.13.0.0/16 via 10.1.0.13 table 100
route add 10.14.0.0/16 dev gone
route add fd00:9::/64 via fd00:1::9`)
    const { interfaces, ips, routes } = mustRun(host, 'ADD').result ?? {}
    t.same(
      interfaces?.map(one => one.name),
      ['eth2', 'eth1'],
      'the better default route comes first',
    )
    t.match(ips, [
      { interface: 0, address: '10.2.0.1/24', gateway: '10.2.0.254' },
      { interface: 1, address: '10.1.0.1/24', gateway: '10.1.0.254' },
      { interface: 1, address: 'fd00:1::1/64', gateway: undefined },
    ])
    t.same(routes, [
      { dst: '0.0.0.0/0', gw: '10.2.0.254', priority: 100 },
      { dst: '0.0.0.0/0', gw: '10.1.0.254', mtu: 1400, advmss: 1300, priority: 200 },
      { dst: '10.9.0.0/16', gw: '10.1.0.9' },
      { dst: '10.9.0.0/16', gw: '10.2.0.9' },
      { dst: '10.10.0.0/16', scope: 253 },
      { dst: 'fd00:9::/64', gw: 'fd00:1::9', priority: 1024 },
    ])
    t.equal(mustRun(host, 'CHECK', { prevResult: mustRun(host, 'ADD').result }).stdout, '', 'and CHECK finds them all')
  }),
)

t.test('in a chain the host’s network follows what there is, and nothing is told twice', t =>
  withHost(t, host => {
    const network = prepareUplink(host)
    const prevResult = {
      cniVersion: '1.1.0',
      interfaces: [
        { name: 'eth0', mac: '0a:00:00:00:00:01', sandbox: '/run/netns/other' },
        { name: 'uplink', mac: network.interfaces[0]?.mac },
      ],
      ips: [{ interface: 1, address: network.ips[0]?.address }],
      routes: [{ dst: '0.0.0.0/0', gw: network.routes[0]?.gw }],
      dns: { nameservers: ['192.0.2.53'] },
    }
    t.strictSame(mustRun(host, 'ADD', { prevResult }).result, {
      ...prevResult,
      ips: [...prevResult.ips, { ...network.ips[1], interface: 1 }],
      routes: [...prevResult.routes, network.routes[1]],
    })
    const { interfaces, ips } = mustRun(host, 'ADD', { prevResult: { cniVersion: '1.1.0' } }).result ?? {}
    t.same({ interfaces, ips }, { interfaces: network.interfaces, ips: network.ips }, 'after a result that is empty')
  }),
)

t.test('name servers come from the configuration, the plugin before, or the host’s resolv.conf', t =>
  withHost(t, host => {
    prepareUplink(host)
    const file = join(host.directory, 'resolv.conf')
    writeFileSync(file, 'nameserver 127.0.0.53\noptions edns0\nsearch example.org\n')
    const ofFile = { nameservers: ['127.0.0.53'], search: ['example.org'], options: ['edns0'] }
    const given = { nameservers: ['192.0.2.53'] }
    const prevResult = { cniVersion: '1.1.0', dns: { nameservers: ['192.0.2.54'] } }
    const told = (keys: object) => mustRun(host, 'ADD', keys).result?.dns
    t.same(told({ resolvConf: file }), ofFile)
    t.same(told({ resolvConf: file, dns: {} }), ofFile, 'an empty "dns" says nothing')
    t.same(told({ resolvConf: file, prevResult }), prevResult.dns)
    t.same(told({ resolvConf: file, prevResult, dns: given }), given)
    const [, first] = /^nameserver +(\S+)/m.exec(readFileSync('/etc/resolv.conf', 'utf8')) ?? []
    t.equal(told({})?.nameservers?.[0], first, 'that of this machine')
    t.match(run(host, 'ADD', { resolvConf: `${file}.none` }).error, {
      code: 7,
      msg: /^"resolvConf" is .* no such file/,
    })
  }),
)

t.test('on a host without a network ADD says that it may be tried again', t =>
  withHost(t, host => {
    host.ip('link add eth1 type bridge\naddr add 10.1.0.1/24 dev eth1')
    t.match(run(host, 'ADD').error, { code: 11, msg: /^no interface of the host is up/ })
    host.ip('link set eth1 up')
    t.equal(host.macOf('eth1'), mustRun(host, 'ADD').result?.interfaces?.[0]?.mac)
    t.match(run(host, 'ADD', { interfaces: ['eth2'] }).error, { code: 11, msg: /"interfaces" \["eth2"\]/ })
  }),
)
