/** CHECK of the bridge plugin: silent about what ADD has made, loud about every kind of damage to it. */

import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cniVersions } from '../../lib/cni/types.ts'
import { type Attachment, families, type Host, hostLocal, Network, subnets, withHost } from '../harness/index.ts'

const withCheck = cniVersions.filter(version => version >= '0.4.0')

const variants: Readonly<Record<string, object>> = {
  'plain gateway': {},
  'no gateway': { isDefaultGateway: false },
  'layer 2': { isDefaultGateway: false, ipam: {} },
  'layer 2, interface down': { isDefaultGateway: false, ipam: {}, disableContainerInterface: true },
  'masquerade by nftables': { ipMasq: true },
  'masquerade by iptables': { ipMasq: true, ipMasqBackend: 'iptables' },
  'hairpin, isolation, MTU': { hairpinMode: true, portIsolation: true, mtu: 1400 },
  'promiscuous bridge': { promiscMode: true },
  'MAC spoof check': { macspoofchk: true },
  'given MAC': { runtimeConfig: { mac: '02:00:00:00:00:aa' } },
}

for (const cniVersion of withCheck)
  t.test(`CHECK passes after ADD, whatever the variant (${cniVersion})`, t =>
    withHost(t, host => {
      const tried = Object.entries(variants).filter(
        ([variant]) => cniVersion === '1.1.0' || /^(plain|layer)/.test(variant),
      )
      for (const [variant, keys] of tried) {
        const name = variant.replaceAll(/\W+/g, '-')
        const attachment = new Network(host, { name, cniVersion, ...keys }).attach()
        const { status, stdout, stderr } = attachment.check()
        t.strictSame({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' }, variant)
        attachment.del()
        host.ip('link del br0')
      }
    }),
  )

for (const cniVersion of withCheck)
  t.test(`CHECK passes with routes in tables of their own (${cniVersion})`, t =>
    withHost(t, host => {
      const routes = [
        { dst: '192.0.2.0/24', table: 77 },
        { dst: '2001:db8:9::/48', priority: 5, mtu: 1300 },
      ]
      const ipam = { ...hostLocal(host, subnets.ipv4, subnets.ipv6), routes }
      t.equal(new Network(host, { cniVersion, ipam }).attach().check().stdout, '')
    }),
  )

interface Damage {
  readonly what: string
  readonly config?: object
  readonly do: (host: Host, attachment: Attachment) => void
  readonly says: RegExp
  /** Default: found by the bridge plugin itself, code 105. */
  readonly code?: number
}

const dualStack = (host: Host) => hostLocal(host, subnets.ipv4, subnets.ipv6)
const flushSet = (host: Host, family: 'ip' | 'ip6') => {
  const sets = JSON.parse(host.output(['nft', '-j', 'list', 'sets'])) as {
    nftables: { set?: { family: string; table: string; name: string; type: string } }[]
  }
  for (const { set } of sets.nftables)
    if (set?.name.startsWith('masquerade/') && set.type === (family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'))
      host.output(['nft', `flush set ${set.family} ${set.table} ${set.name}`])
}

const damages: readonly Damage[] = [
  {
    what: 'the IPv4 address is gone',
    do: (_, { container }) =>
      container.ip('addr del 10.88.0.2/24 dev eth0\nroute add 10.88.0.0/24 dev eth0\nroute add default via 10.88.0.1'),
    says: /address 10\.88\.0\.2\/24 is gone/,
  },
  {
    what: 'the IPv6 address is gone',
    do: (_, { container }) => container.ip('addr del fd00:88::2/64 dev eth0'),
    says: /address fd00:88::2\/64 is gone/,
  },
  {
    what: 'the address has another prefix length',
    do: (_, { container }) =>
      container.ip(
        'addr add 10.88.0.2/16 dev eth0\naddr del 10.88.0.2/24 dev eth0\nroute replace default via 10.88.0.1',
      ),
    says: /address 10\.88\.0\.2\/24 is gone/,
  },
  {
    what: 'the IPv4 default route is gone',
    do: (_, { container }) => container.ip('route del default'),
    says: /route to 0\.0\.0\.0\/0 via 10\.88\.0\.1 is gone/,
  },
  {
    what: 'the IPv6 default route is gone',
    do: (_, { container }) => container.ip('route del ::/0'),
    says: /route to ::\/0 via fd00:88::1 is gone/,
  },
  {
    what: 'the default route has another gateway',
    do: (_, { container }) => container.ip('route replace default via 10.88.0.77'),
    says: /route to 0\.0\.0\.0\/0 via 10\.88\.0\.1 is gone/,
  },
  {
    what: "the address plugin's route is gone",
    do: (_, { container }) => container.ip('route del 192.0.2.0/24'),
    says: /route to 192\.0\.2\.0\/24 is gone/,
  },
  {
    what: 'a route has moved to another table than the configured',
    do: (_, { container }) => container.ip('route flush table 77\nroute add 203.0.113.0/24 via 10.88.0.1'),
    says: /route to 203\.0\.113\.0\/24 is gone/,
  },
  {
    what: 'the interface is down',
    do: (_, { container }) => container.ip('link set eth0 down'),
    says: /"eth0" is down/,
  },
  {
    what: 'the interface is up and should be down',
    config: { isDefaultGateway: false, ipMasq: false, ipam: {}, disableContainerInterface: true },
    do: (_, { container }) => container.ip('link set eth0 up'),
    says: /"eth0" is up/,
  },
  {
    what: 'the interface is gone',
    do: (_, { container }) => container.ip('link del eth0'),
    says: /veth[0-9a-f]+" is gone/,
  },
  {
    what: 'the interface was renamed',
    do: (_, { container }) => container.ip('link set eth0 down\nlink set eth0 name eth9'),
    says: /"eth0" is gone/,
  },
  {
    what: 'the interface is another, and no veth',
    do: (_, { container }) =>
      container.ip('link set eth0 down\nlink set eth0 name eth9\nlink add eth0 type bridge\nlink set eth0 up'),
    says: /"eth0" is of kind "bridge"/,
  },
  {
    what: 'the interface is the end of another pair',
    config: { isDefaultGateway: false, ipMasq: false, ipam: {} },
    do: (_, { container, result }) =>
      container.ip(`link set eth0 down
link set eth0 name eth9
link add eth0 address ${result.interfaces?.[2]?.mac} type veth peer name other
link set eth0 up
link set other up`),
    says: /not the other end of "veth/,
  },
  {
    what: 'the MAC address is another',
    do: (_, { container }) => container.ip('link set eth0 address 02:00:00:00:00:77'),
    says: /has MAC 02:00:00:00:00:77/,
  },
  {
    what: 'the port is down',
    do: (host, { port }) => host.ip(`link set ${port} down`),
    says: /"veth[0-9a-f]+" is down/,
  },
  {
    what: 'the port left the bridge',
    do: (host, { port }) => host.ip(`link set ${port} nomaster`),
    says: /not attached to bridge "br0"/,
  },
  {
    what: 'the port is on another bridge',
    do: (host, { port }) => host.ip(`link add br7 type bridge\nlink set ${port} master br7`),
    says: /not attached to bridge "br0"/,
  },
  {
    what: 'hairpin mode is on',
    do: (host, { port }) => host.ip(`link set ${port} type bridge_slave hairpin on`),
    says: /hairpin mode of "veth[0-9a-f]+" is not false/,
  },
  {
    what: 'hairpin mode is off',
    config: { hairpinMode: true },
    do: (host, { port }) => host.ip(`link set ${port} type bridge_slave hairpin off`),
    says: /hairpin mode of "veth[0-9a-f]+" is not true/,
  },
  {
    what: 'isolation is off',
    config: { portIsolation: true },
    do: (host, { port }) => host.ip(`link set ${port} type bridge_slave isolated off`),
    says: /isolation of "veth[0-9a-f]+" is not true/,
  },
  { what: 'the bridge is gone', do: host => host.ip('link del br0'), says: /bridge "br0" is gone/ },
  { what: 'the bridge is down', do: host => host.ip('link set br0 down'), says: /bridge "br0" is down/ },
  {
    what: 'the bridge is no bridge',
    do: host => host.ip('link del br0\nlink add br0 type veth peer name other'),
    says: /"br0" already exists but is not a bridge/,
    code: 104,
  },
  {
    what: 'the bridge is not promiscuous',
    config: { promiscMode: true },
    do: host => host.ip('link set br0 promisc off'),
    says: /not in promiscuous mode/,
  },
  {
    what: 'the IPv4 gateway address is gone',
    do: host => host.ip('addr del 10.88.0.1/24 dev br0'),
    says: /lost the gateway address 10\.88\.0\.1\/24/,
  },
  {
    what: 'the IPv6 gateway address is gone',
    do: host => host.ip('addr del fd00:88::1/64 dev br0'),
    says: /lost the gateway address fd00:88::1\/64/,
  },
  {
    what: 'IPv4 forwarding is off',
    do: host => host.output(['sysctl', '-qw', 'net.ipv4.ip_forward=0']),
    says: /forwarding is off: sysctl net\/ipv4\/ip_forward/,
  },
  {
    what: 'IPv6 forwarding is off',
    do: host => host.output(['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=0']),
    says: /forwarding is off: sysctl net\/ipv6\/conf\/all\/forwarding/,
  },
  { what: 'the IPv4 masquerade element is gone', do: host => flushSet(host, 'ip'), says: /10\.88\.0\.2/ },
  { what: 'the IPv6 masquerade element is gone', do: host => flushSet(host, 'ip6'), says: /fd00:88::2/ },
  {
    what: 'all of nftables is gone',
    do: host => host.output(['nft', 'flush ruleset']),
    says: /masquerad|10\.88\.0\.2/,
  },
  {
    what: 'the rules of the masquerade chain are gone',
    do: host => host.output(['nft', 'flush chain inet cnikit masquerading']),
    says: /10\.88\.0\.[02]/,
  },
  {
    what: 'the port is no longer one whose MAC addresses are checked',
    config: { macspoofchk: true },
    do: (host, { port }) => host.ip(`link set ${port} group default`),
    says: /not in the link group of ports whose MAC addresses are checked/,
  },
  {
    what: 'the MAC address is no longer among the allowed',
    config: { macspoofchk: true },
    do: host => host.output(['nft', 'flush set bridge cnikit spoof-check/allowed']),
    says: /^MAC spoof check of /,
  },
  {
    what: 'the rule that checks MAC addresses is gone',
    config: { macspoofchk: true },
    do: host => host.output(['nft', 'flush chain bridge cnikit spoof-check/prerouting']),
    says: /^MAC spoof check of /,
  },
  {
    what: "iptables' POSTROUTING is flushed",
    config: { ipMasqBackend: 'iptables' },
    do: host => host.output(['iptables', '-t', 'nat', '-F', 'POSTROUTING']),
    says: /no rule "POSTROUTING -s 10\.88\.0\.2\/32/,
  },
  {
    what: "ip6tables' POSTROUTING is flushed",
    config: { ipMasqBackend: 'iptables' },
    do: host => host.output(['ip6tables', '-t', 'nat', '-F', 'POSTROUTING']),
    says: /no rule "POSTROUTING -s fd00:88::2\/128/,
  },
  {
    what: 'the address is no longer reserved',
    do: host => {
      const directory = join(host.dataDirectory, 'podnet')
      for (const name of readdirSync(directory).filter(name => name !== 'lock')) rmSync(join(directory, name))
    },
    says: /./,
  },
]

t.test('CHECK finds every kind of damage and says what is wrong, and DEL works in spite of it', t =>
  withHost(t, host => {
    const ipam = {
      ...dualStack(host),
      routes: [{ dst: '192.0.2.0/24' }, { dst: '203.0.113.0/24', table: 77 }],
    }
    for (const [index, { what, config, do: damage, says, code }] of damages.entries()) {
      const attachment = new Network(host, { ipMasq: true, ipam, ...config }).attach({ containerId: `c${index}` })
      t.equal(attachment.check().stdout, '', `before: ${what}`)
      damage(host, attachment)
      const { status, error } = attachment.check()
      t.equal(status, 1, what)
      t.match(error?.msg, says, what)
      if (code !== undefined || !what.includes('reserved')) t.equal(error?.code, code ?? 105, `code: ${what}`)
      attachment.del()
      host.output(['bash', '-c', 'ip link del br0; nft flush ruleset; rm -rf "$0"/podnet', host.dataDirectory])
    }
  }),
)

t.test('CHECK reports the damage before everything else that comes after it, and changes nothing', t =>
  withHost(t, host => {
    const attachment = new Network(host, { ipMasq: true }).attach()
    host.ip('addr del 10.88.0.1/24 dev br0')
    t.equal(attachment.check().status, 1)
    t.same(host.addresses('br0'), [], 'a check is not a repair')
  }),
)

t.test('CHECK tolerates what later plugins of the chain add to the container and to the result', t =>
  withHost(t, host => {
    const attachment = new Network(host, { ipMasq: true, ipam: dualStack(host) }).attach()
    const { container, result } = attachment
    container.ip(`link add later type bridge
link set later up
addr add 172.20.0.5/24 dev later
addr add 10.88.0.99/24 dev eth0
route add 198.18.0.0/15 via 172.20.0.1
link set eth0 mtu 1400`)
    const later = {
      interfaces: [...(result.interfaces ?? []), { name: 'later', sandbox: container.path }, { name: 'bwp0123' }],
      ips: [...(result.ips ?? []), { address: '172.20.0.5/24', interface: 3, gateway: '172.20.0.1' }],
      routes: [...(result.routes ?? []), { dst: '198.18.0.0/15', gw: '172.20.0.1' }],
      dns: { nameservers: ['192.0.2.53'] },
    }
    t.equal(attachment.check(later).stdout, '')
    container.ip('link set eth0 address 02:00:00:00:00:55')
    const changed = later.interfaces.map(one => (one.name === 'eth0' ? { ...one, mac: '02:00:00:00:00:55' } : one))
    t.equal(attachment.check({ ...later, interfaces: changed }).stdout, '', 'a MAC address that tuning has set')
    t.match(attachment.check(later).error?.msg, /has MAC 02:00:00:00:00:55/)
  }),
)

t.test('CHECK without prevResult is refused', t =>
  withHost(t, host => {
    const attachment = new Network(host).attach()
    const { error } = attachment.network.run(attachment.request('CHECK'))
    t.equal(error?.code, 7)
    t.match(error?.msg, /prevResult/i)
  }),
)

for (const cniVersion of cniVersions.filter(version => version < '0.4.0'))
  t.test(`CHECK is refused for ${cniVersion}, which does not know it`, t =>
    withHost(t, host => {
      const { error } = new Network(host, { cniVersion }).attach().check()
      t.equal(error?.code, 1)
      t.equal(error?.msg, 'config version does not allow CHECK')
    }),
  )

t.test('a namespace that is gone fails CHECK', t =>
  withHost(t, host => {
    const attachment = new Network(host, { ipam: hostLocal(host, ...(families.IPv4 ?? [])) }).attach()
    const prevResult = attachment.result
    const request = attachment.request('CHECK', { prevResult })
    const { error } = attachment.network.run({ ...request, netns: '/run/netns/cnikit-gone' })
    t.equal(error?.code, 8)
  }),
)
