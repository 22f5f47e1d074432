/** Hosts whose own firewall drops what is forwarded: what the firewall plugin does about it, and what it says. */

import t from 'tap'
import { createOutside, type Host, outsideAddresses, until, withHost } from '../harness/index.ts'
import { bridgeNetwork, firewallOf, type Guarded, guard, unguard } from './firewall-plugin-fixture.ts'

const nft = (host: Host, script: string): string => host.output(['nft', '-f', '-'], { input: script })
const rules = (host: Host): string => host.output(['nft', 'list', 'ruleset'])

/** STATUS of the firewall in a network. */
const statusOf = ({ firewall }: Guarded, config: object = {}) =>
  firewall.network.with(config).run({ command: 'STATUS', config: firewall.network.with(config).config })

/** How hosts come to drop, by who does it. */
const droppingHosts: Readonly<Record<string, string[][]>> = {
  'a policy, as Docker and ufw set it': [
    ['iptables-nft', '-P', 'FORWARD', 'DROP'],
    ['ip6tables-nft', '-P', 'FORWARD', 'DROP'],
  ],
  'a last rule that rejects': [
    ['iptables-nft', '-A', 'FORWARD', '-m', 'comment', '--comment', 'the end', '-j', 'REJECT'],
    ['ip6tables-nft', '-A', 'FORWARD', '-j', 'REJECT'],
  ],
  'a last rule that drops': [
    ['iptables-nft', '-A', 'FORWARD', '-j', 'DROP'],
    ['ip6tables-nft', '-A', 'FORWARD', '-j', 'DROP'],
  ],
}

for (const [how, commands] of Object.entries(droppingHosts))
  t.test(`iptables drops by ${how}: without "backend" the rules go there`, t =>
    withHost(t, async host => {
      createOutside(host)
      const network = bridgeNetwork(host, 1, { ipMasq: true })
      const bare = network.attach()
      await until('the outside is reached', () => bare.container.pings(outsideAddresses.outside.ipv4))
      for (const command of commands) host.output(command)
      t.notOk(bare.container.pings(outsideAddresses.outside.ipv4), 'a container without the firewall plugin')
      const named = firewallOf(bare, { backend: 'nftables' })
      const before = rules(host)
      t.match(named.tryAdd().error, {
        code: 104,
        msg: '"backend" is "nftables", but "ip filter FORWARD" and "ip6 filter FORWARD" drop what is forwarded',
        details: /Remove "backend", or set "iptables"/,
      })
      t.equal(rules(host), before, 'nothing is changed')
      t.match(
        named.network.run({ command: 'STATUS', config: named.network.config }).error,
        { code: 50, msg: /"ip filter FORWARD" drops/, details: /Docker, ufw/ },
        'STATUS says it too',
      )

      const one = guard(network)
      await until('over IPv4', () => one.container.pings(outsideAddresses.outside.ipv4))
      t.ok(one.container.pings(outsideAddresses.outside.ipv6), 'over IPv6')
      t.equal(one.firewall.check().stdout, '')
      t.equal(statusOf(one).status, 0)
      t.notMatch(rules(host), /cnikit-firewall/, 'nftables has nothing to add')
      one.firewall.del()
      t.notOk(one.container.pings(outsideAddresses.outside.ipv4), 'DEL closes it again')
    }),
  )

t.test('only what matters to the addresses counts', t =>
  withHost(t, host => {
    host.output(['ip6tables-nft', '-P', 'FORWARD', 'DROP'])
    const four = bridgeNetwork(host, 1, {
      ipam: { type: 'host-local', dataDir: host.dataDirectory, subnet: '10.88.1.0/24' },
    })
    const one = guard(four, { backend: 'nftables' })
    t.equal(one.firewall.check().stdout, '', 'an IPv4 network beside an ip6tables that drops')
    t.equal(statusOf(one).status, 0)
    const both = firewallOf(bridgeNetwork(host, 2).attach(), { backend: 'nftables' }).tryAdd()
    t.match(both.error, { code: 104, msg: /but "ip6 filter FORWARD" drops what is forwarded$/ })
  }),
)

t.test('a container from before the host began to drop', t =>
  withHost(t, host => {
    const one = guard(bridgeNetwork(host, 1))
    host.output(['iptables-nft', '-P', 'FORWARD', 'DROP'])
    t.match(one.firewall.check().error, { code: 105, msg: /iptables has no rule/ }, 'CHECK sees that it is cut off')
    one.firewall.add()
    t.equal(one.firewall.check().stdout, '', 'ADD mends it')
    one.firewall.del()
    t.notMatch(rules(host), new RegExp(one.bridge.address), 'DEL finds both')
  }),
)

t.test("an operator's own ruleset that drops: a warning with the rule to add, and STATUS where nothing can pass", t =>
  withHost(t, host => {
    nft(
      host,
      'table inet filter { chain forward { type filter hook forward priority 10; policy drop; ct state invalid drop; }; }',
    )
    const bare = bridgeNetwork(host, 1).attach()
    const firewall = firewallOf(bare)
    const answer = firewall.tryAdd()
    t.equal(answer.status, 0)
    t.match(
      answer.stderr,
      /^firewall: network "net1": chain "inet filter forward" of nftables drops what is forwarded\. /,
    )
    t.match(answer.stderr, /nft add rule inet filter forward iifname <bridge> accept/)
    t.equal(firewall.tryAdd().stderr, '', 'said once')
    const status = () => firewall.network.run({ command: 'STATUS', config: firewall.network.config })
    t.match(status().error, { code: 50, msg: 'chain "inet filter forward" of nftables drops what is forwarded' })
    nft(host, 'add rule inet filter forward iifname "br1" accept')
    t.equal(status().status, 0, 'a chain with rules that accept may be right')
    firewall.network.gc([])
    t.match(firewall.tryAdd().stderr, /drops what is forwarded unless its own rules let it through/)
  }),
)

t.test('the old iptables drops while the host calls the newer one: ADD says that no rule of its own helps', t =>
  withHost(t, host => {
    if (host.execute(['iptables-legacy', '-P', 'FORWARD', 'DROP']).status !== 0) {
      t.comment('NOT TESTED: no iptables-legacy, or no filter table for it in the kernel')
      return
    }
    const one = guard(bridgeNetwork(host, 1))
    t.match(one.firewall.add().stderr, /"iptables-legacy FORWARD" drops .*update-alternatives --set iptables /)
    t.match(firewallOf(one.bridge, { backend: 'nftables' }).tryAdd().error, {
      code: 104,
      msg: /"iptables-legacy FORWARD"/,
    })
    unguard(one)
  }),
)

t.test('chains that drop something, but not everything, are not in the way', t =>
  withHost(t, host => {
    host.output(['iptables-nft', '-A', 'FORWARD', '-s', '192.0.2.0/24', '-j', 'DROP'])
    host.output(['iptables-nft', '-A', 'FORWARD', '-m', 'conntrack', '--ctstate', 'INVALID', '-j', 'REJECT'])
    nft(host, 'table inet filter { chain forward { type filter hook forward priority 10; ct state invalid drop; }; }')
    nft(
      host,
      'table inet input { chain input { type filter hook input priority 10; policy drop; ct state established accept; }; }',
    )
    const one = guard(bridgeNetwork(host, 1), { backend: 'nftables' })
    t.equal(one.firewall.add().stderr, '')
    t.equal(statusOf(one).status, 0)
  }),
)
