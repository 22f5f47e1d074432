/** The firewall plugin with nftables: what packets do, and what becomes of the state behind it. */

import t from 'tap'
import {
  createOutside,
  differences,
  failEveryStep,
  type Host,
  outsideAddresses,
  snapshot,
  until,
  withHost,
} from '../harness/index.ts'
import { matchesGolden } from './firewall-fixture.ts'
import { bridgeNetwork, firewallOf, guard, reaches, unguard } from './firewall-plugin-fixture.ts'

const nft = (host: Host, ...words: string[]): string => host.output(['nft', ...words])
const showTable = (host: Host): string => nft(host, 'list', 'table', 'inet', 'cnikit-firewall')
const hasTable = (host: Host): boolean => nft(host, 'list', 'tables').includes('cnikit-firewall')
const isElement = (line: string): boolean => line.includes('"elem"') && !line.includes('ingress')

t.test('policy "open": containers of two networks reach each other and the outside', t =>
  withHost(t, async host => {
    createOutside(host)
    const [one, two] = [guard(bridgeNetwork(host, 1, { ipMasq: true })), guard(bridgeNetwork(host, 2))]
    await until('one reaches two', () => reaches(one, two))
    t.ok(reaches(two, one), 'and two reaches one')
    t.ok(one.container.pings(outsideAddresses.outside.ipv4), 'the outside over IPv4')
    t.ok(one.container.pings(outsideAddresses.outside.ipv6), 'the outside over IPv6')
    matchesGolden(t, showTable(host).replaceAll(/container-\d+/g, 'container'), 'firewall-forwarding-open.nft')
  }),
)

t.test('policy "same-bridge": bridges that have a policy are apart from each other, and from nothing else', t =>
  withHost(t, async host => {
    createOutside(host)
    const keys = { ingressPolicy: 'same-bridge' }
    const [first, second] = [bridgeNetwork(host, 1, { ipMasq: true }), bridgeNetwork(host, 2)]
    const [one, beside, other] = [guard(first, keys), guard(first, keys), guard(second, keys)]
    const free = guard(bridgeNetwork(host, 3))
    await until('a container of a network without a policy reaches one', () => reaches(free, one))
    t.ok(reaches(one, free), 'and is reached by it')
    t.ok(reaches(one, beside), 'behind the same bridge')
    t.notOk(reaches(one, other), 'not behind another')
    t.notOk(reaches(other, one), 'in either direction')
    t.ok(one.container.pings(outsideAddresses.outside.ipv4), 'the outside')
    matchesGolden(t, showTable(host).replaceAll(/container-\d+/g, 'container'), 'firewall-forwarding-same-bridge.nft')
    const shown = showTable(host)
    host.output(['nft', '-f', '-'], { input: `delete table inet cnikit-firewall\n${shown}` })
    t.equal(showTable(host), shown, 'nft loads what it has shown')
    t.equal(one.firewall.check().stdout, '', 'and cnikit knows it again')
  }),
)

t.test('policy "isolated": containers reach the outside and nobody of their own bridge or another', t =>
  withHost(t, async host => {
    createOutside(host)
    // Where it is set, and br_netfilter there, the chain sees what stays on a bridge too: here only the port is to count.
    host.execute(['sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0', 'net.bridge.bridge-nf-call-ip6tables=0'])
    const first = bridgeNetwork(host, 1, { ipMasq: true })
    const keys = { ingressPolicy: 'isolated' }
    const [one, beside] = [guard(first, keys), guard(first, keys)]
    const other = guard(bridgeNetwork(host, 2), { ingressPolicy: 'same-bridge' })
    await until('the outside is reached', () => one.container.pings(outsideAddresses.outside.ipv4))
    t.notOk(reaches(one, beside), 'on the bridge itself')
    t.notOk(reaches(one, other), 'behind another bridge with a policy')
    t.notOk(reaches(other, one))
    host.output(['bridge', 'link', 'set', 'dev', beside.bridge.port, 'isolated', 'off'])
    t.match(beside.firewall.check().error, { code: 105, msg: /port "veth[0-9a-f]+" is not isolated/ }, 'CHECK looks')
    await until('they reach each other: it was the port that kept them apart', () => reaches(one, beside))
    matchesGolden(t, showTable(host).replaceAll(/container-\d+/g, 'container'), 'firewall-forwarding-isolated.nft')
  }),
)

t.test('of two networks on one bridge that differ, "isolated" is obeyed until GC of its network', t =>
  withHost(t, host => {
    const strict = bridgeNetwork(host, 1)
    const lax = bridgeNetwork(host, 2, { bridge: 'br1', forceAddress: true, isDefaultGateway: false })
    const one = guard(strict, { ingressPolicy: 'isolated' })
    const two = guard(lax, { ingressPolicy: 'same-bridge' })
    const within = () => nft(host, 'list', 'set', 'inet', 'cnikit-firewall', 'ingress-within')
    t.notMatch(within(), /"br1" \. "br1"/)
    unguard(one)
    one.firewall.network.gc([])
    t.match(within(), /"br1" \. "br1"/, 'then "same-bridge" is in force')
    t.equal(two.firewall.check().stdout, '')
    two.firewall.network.gc([])
    t.notOk(hasTable(host), 'and with the last network the table goes')
  }),
)

t.test("the operator's rules come first, and neither DEL nor GC takes them away", t =>
  withHost(t, async host => {
    // Before the first container: what cnikit needs besides comes with it.
    const admin = 'add table inet cnikit-firewall\nadd chain inet cnikit-firewall admin\n'
    host.output(['nft', '-f', '-'], {
      input: `${admin}add rule inet cnikit-firewall admin ip daddr 10.88.2.0/24 drop\n`,
    })
    const [one, two] = [guard(bridgeNetwork(host, 1)), guard(bridgeNetwork(host, 2))]
    await until('IPv6 passes', () => one.container.pings(two.bridge.addresses[1] ?? ''))
    t.notOk(one.container.pings(two.bridge.address), 'the rule drops although the address is accepted')
    unguard(one)
    unguard(two)
    for (const { firewall } of [one, two]) firewall.network.gc([])
    t.match(showTable(host), /ip daddr 10.88.2.0\/24 drop/, 'the rule is still there')
    t.match(showTable(host), /jump admin/, 'and in force')
    nft(host, 'flush', 'chain', 'inet', 'cnikit-firewall', 'admin')
    one.firewall.network.gc([])
    t.notOk(hasTable(host), 'without rules in it GC removes the table')
  }),
)

t.test('ADD gives the result on unchanged, and repeated changes nothing', t =>
  withHost(t, host => {
    const one = guard(bridgeNetwork(host, 1), { ingressPolicy: 'isolated' })
    t.same(one.firewall.result, one.bridge.result)
    const before = snapshot(host)
    one.firewall.add()
    t.same(differences(before, snapshot(host)), [])
    const failing = { ...one.firewall.request('ADD'), environment: { CNIKIT_FAIL_STEP: '1' } }
    t.equal(one.firewall.network.run(failing).error?.code, 199)
    t.same(differences(before, snapshot(host)), [], 'also one that fails')
  }),
)

t.test('results of every version pass, also without addresses', t =>
  withHost(t, host => {
    for (const cniVersion of ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
      const one = guard(bridgeNetwork(host, 1, { cniVersion }))
      t.same(one.firewall.result, one.bridge.result, cniVersion)
      t.match(showTable(host), new RegExp(one.bridge.containerId))
      unguard(one)
    }
    const bare = bridgeNetwork(host, 1).attach()
    const { config, ...request } = firewallOf(bare).request('ADD')
    const prevResult = { cniVersion: '1.1.0' }
    const answer = firewallOf(bare).network.run({ ...request, config: { ...(config as object), prevResult } })
    t.same(answer.json, prevResult, 'without addresses')
  }),
)

t.test('DEL removes what the attachment has, with and without the result, and late', t =>
  withHost(t, host => {
    const network = bridgeNetwork(host, 1)
    const kept = guard(network)
    const before = snapshot(host)
    for (const withoutResult of [false, true]) {
      const gone = guard(network)
      gone.firewall.del({ withoutResult, netns: '' })
      gone.firewall.del({ withoutResult, netns: '/run/netns/is-not-there' })
      gone.bridge.del()
      t.same(differences(before, snapshot(host)).filter(isElement), [], `withoutResult: ${withoutResult}`)
    }
    const { prevResult: _, ...config } = kept.firewall.request('DEL').config as Record<string, unknown>
    const elsewhere = { ...kept.firewall.request('DEL'), config: { ...config, prevResult: kept.bridge.result } }
    kept.firewall.network.mustRun({ ...elsewhere, containerId: 'another' })
    t.equal(kept.firewall.check().stdout, '', "another's DEL with the same addresses takes nothing away")
    kept.firewall.network.mustRun({ ...elsewhere, ifname: 'eth1' })
    t.equal(kept.firewall.check().stdout, '', 'nor does that of another interface')
  }),
)

t.test('DEL on a host without any state', t =>
  withHost(t, host => {
    const one = bridgeNetwork(host, 1).attach()
    firewallOf(one).del()
    t.notOk(hasTable(host))
  }),
)

t.test('CHECK names what is missing and creates nothing', t =>
  withHost(t, host => {
    const one = guard(bridgeNetwork(host, 1), { ingressPolicy: 'same-bridge' })
    t.equal(one.firewall.check().stdout, '')
    const table = ['inet', 'cnikit-firewall']
    const whole = showTable(host)
    const damages: [string[], RegExp][] = [
      [
        ['delete', 'element', ...table, 'accepted/net1/ip', `{ ${one.bridge.address} }`],
        /forwarding for 10.88.1.2: set "accepted\/net1\/ip" does not have it/,
      ],
      [['flush', 'chain', ...table, 'forward'], /no rule for set/],
      [['flush', 'chain', ...table, 'ingress-policy'], /chain "ingress-policy" has no rule/],
      [['flush', 'set', ...table, 'ingress-interfaces'], /ingress policy "same-bridge": sets .* are not what/],
      [['flush', 'set', ...table, 'ingress/net1'], /set "ingress\/net1" does not say "same-bridge" of "br1"/],
      [['delete', 'table', ...table], /does not have it/],
    ]
    for (const [words, says] of damages) {
      nft(host, ...words)
      const before = snapshot(host)
      t.match(one.firewall.check().error, { code: 105, msg: says }, words.join(' '))
      t.same(differences(before, snapshot(host)), [], 'and changes nothing')
      host.output(['nft', '-f', '-'], {
        input: `table inet cnikit-firewall\ndelete table inet cnikit-firewall\n${whole}`,
      })
      t.equal(one.firewall.check().stdout, '')
    }
    nft(host, 'flush', 'chain', ...table, 'forward')
    one.firewall.network.gc([one.firewall])
    t.equal(one.firewall.check().stdout, '', 'GC puts the rules back')
  }),
)

t.test('GC removes what lost attachments have, and only that', t =>
  withHost(t, host => {
    const network = bridgeNetwork(host, 1)
    const [kept, lost] = [guard(network), guard(network)]
    const other = guard(bridgeNetwork(host, 2))
    const before = showTable(host)
    kept.firewall.network.gc(undefined)
    t.equal(showTable(host), before, 'without a list of valid attachments nothing')
    kept.firewall.network.gc([kept.firewall])
    t.notMatch(showTable(host), new RegExp(lost.bridge.address.replaceAll('.', '\\.')))
    for (const one of [kept, other]) t.equal(one.firewall.check().stdout, '')
    kept.firewall.network.gc([])
    t.equal(other.firewall.check().stdout, '', 'the network is gone, the other is not')
    t.notMatch(showTable(host), /net1/)
    other.firewall.network.gc([])
    t.notOk(hasTable(host))
  }),
)

for (const ingressPolicy of ['open', 'same-bridge', 'isolated'])
  t.test(`a failure at any step of ADD leaves nothing of the attachment: ${ingressPolicy}`, t =>
    withHost(t, host => {
      const network = bridgeNetwork(host, 1)
      guard(network, { ingressPolicy })
      const bridge = network.attach()
      const firewall = firewallOf(bridge, { ingressPolicy }, { container: host.createContainer() })
      const before = snapshot(host)
      const { steps, attachment } = failEveryStep(t, firewall.network, firewall.options, claim =>
        t.same(differences(before, snapshot(host)), [], `${claim}: the host`),
      )
      t.equal(steps, ingressPolicy === 'isolated' ? 2 : 1, 'steps were made to fail')
      t.equal(attachment.check().stdout, '')
      attachment.del()
      t.same(differences(before, snapshot(host), ['links']), [], 'and so does DEL')
    }),
  )

t.test('ADD refuses what it cannot do, and says why', t =>
  withHost(t, host => {
    const bridge = bridgeNetwork(host, 1).attach()
    const before = snapshot(host)
    const refused = (config: object, prevResult: object | undefined, code: number, says: RegExp) => {
      const firewall = firewallOf(bridge, config)
      const { config: keys, ...request } = firewall.request('ADD')
      const answer = firewall.network.run({ ...request, config: { ...(keys as object), prevResult } })
      t.match(answer.error, { code, msg: says }, JSON.stringify(config))
      t.same(differences(before, snapshot(host)), [], 'and changes nothing')
    }
    const ips = [{ address: '10.88.1.2/24' }]
    const elsewhere = [{ name: 'eth0', sandbox: '/run/netns/some' }]
    refused({}, undefined, 7, /^required prevResult is missing$/)
    refused({ cniVersion: '0.2.0' }, undefined, 1, /incompatible CNI versions/)
    refused({ backend: 'ufw' }, { ips }, 7, /^"backend" is "ufw", but must/)
    refused({ backend: 5 }, { ips }, 7, /^"backend" is 5, but must/)
    refused({ ingressPolicy: 'closed' }, { ips }, 7, /^"ingressPolicy" is "closed", but must/)
    refused({ ingressPolicy: 'Open' }, { ips }, 7, /^"ingressPolicy" is "Open", but must/)
    refused({ iptablesAdminChainName: 'a b' }, { ips }, 7, /^"iptablesAdminChainName" is "a b"/)
    refused({ iptablesAdminChainName: 'A'.repeat(29) }, { ips }, 7, /^"iptablesAdminChainName" is/)
    refused({ firewalldZone: '--reload' }, { ips }, 7, /^"firewalldZone" is "--reload"/)
    refused({ ingressPolicy: 'isolated' }, { ips }, 7, /prevResult names no interface of the host/)
    refused(
      { ingressPolicy: 'same-bridge' },
      { ips, interfaces: elsewhere },
      7,
      /prevResult names no interface of the host/,
    )
    refused(
      { ingressPolicy: 'same-bridge' },
      { ips, interfaces: [{ name: 'br77' }] },
      109,
      /^interface "br77" of prevResult/,
    )
    t.equal(
      firewallOf(bridge, { backend: '', ingressPolicy: '', firewalldZone: '' }).tryAdd().status,
      0,
      '"" is a default',
    )
  }),
)

t.test('20 ADDs at once on an empty host, and their DELs', t =>
  withHost(t, async host => {
    const network = bridgeNetwork(host, 1)
    const attached = await network.attachAtOnce(20)
    const firewalls = attached.map(one => firewallOf(one, { ingressPolicy: 'same-bridge' }))
    await Promise.all(firewalls.map(one => one.addBeside()))
    for (const one of firewalls) t.equal(one.check().stdout, '')
    const [first] = firewalls
    if (first === undefined) throw new Error('none was made')
    t.same(await first.network.detachAtOnce(firewalls), [])
    t.notMatch(showTable(host), /comment "container/)
  }),
)
