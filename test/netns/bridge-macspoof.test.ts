/** `macspoofchk` of the bridge plugin: what passes, what the firewall holds for it, and that it goes again. */

import t from 'tap'
import { createMissing } from '../../lib/firewall/nftables/transaction.ts'
import { CHECKED_PORTS_GROUP } from '../../lib/firewall/spoof-check.ts'
import { createChain } from '../../lib/netlink/netfilter/chain.ts'
import { createTable } from '../../lib/netlink/netfilter/table.ts'
import {
  type Attachment,
  deleteNamespaces,
  differences,
  failEveryStep,
  gateways,
  type Host,
  hostLocal,
  Network,
  snapshot,
  withHost,
} from '../harness/index.ts'
import { withNetfilter } from './firewall-fixture.ts'

const checkedNetwork = (host: Host, keys: object = {}) => new Network(host, { macspoofchk: true, ...keys })
const bridgeRules = (host: Host) => host.output(['nft', 'list', 'ruleset', 'bridge'])
/** The elements of the one set, as nft prints them. */
const elements = (host: Host) => bridgeRules(host).match(/"veth[0-9a-f]{11}" \. [0-9a-f:]{17} comment "[^"]*"/g) ?? []
const macOf = ({ result }: Attachment) => result.interfaces?.[2]?.mac ?? ''
const elementOf = (attachment: Attachment, network = 'podnet') =>
  `"${attachment.port}" . ${macOf(attachment)} comment "${network} ${attachment.containerId} eth0"`
const nft = (host: Host, command: string) => host.output(['nft', command])

function pretend({ container }: Attachment, mac: string): void {
  container.ip(`link set eth0 address ${mac}`)
}

t.test('a frame passes with the container’s own address, and with no other: not even with a neighbour’s', t =>
  withHost(t, host => {
    const network = checkedNetwork(host)
    const [one, two] = [network.attach(), network.attach()]
    const free = network.with({ macspoofchk: false }).attach()
    t.ok(one.container.pings(gateways.ipv4))
    t.ok(one.container.pings(two.address))
    for (const mac of ['02:00:00:00:00:99', macOf(two), host.show('link', 'show', 'br0')[0]?.address as string]) {
      pretend(one, mac)
      t.notOk(one.container.pings(gateways.ipv4, 0.3), `${mac} to the host`)
      t.notOk(one.container.pings(two.address, 0.3), `${mac} to the neighbour`)
    }
    pretend(one, macOf(one))
    t.ok(one.container.pings(two.address), 'its own again')
    pretend(free, '02:00:00:00:00:98')
    t.ok(free.container.pings(gateways.ipv4), 'a port on the same bridge that does not ask for it is not concerned')
  }),
)

t.test('the first frame after ADD passes, with an address that was asked for too', t =>
  withHost(t, host => {
    const attachment = checkedNetwork(host).attach({ config: { runtimeConfig: { mac: '02:00:00:00:00:AA' } } })
    t.ok(attachment.container.pings(gateways.ipv4))
    t.same(elements(host), [elementOf(attachment)])
    t.match(elements(host)[0], '02:00:00:00:00:aa')
  }),
)

t.test('the firewall holds one element for each container, and one rule for all', t =>
  withHost(t, host => {
    const network = checkedNetwork(host)
    const attachments = [network.attach(), network.attach(), network.attach()]
    t.same(elements(host).toSorted(), attachments.map(one => elementOf(one)).toSorted())
    t.equal(bridgeRules(host).match(/drop$/gm)?.length, 1)
    t.equal(
      bridgeRules(host).replace(/elements = \{[^}]*\}/, 'elements = { ... }'),
      `table bridge cnikit {
	set spoof-check/allowed {
		type ifname . ether_addr
		elements = { ... }
	}

	chain spoof-check/prerouting {
		type filter hook prerouting priority dstnat; policy accept;
		iifgroup ${CHECKED_PORTS_GROUP} iifname . ether saddr != @spoof-check/allowed drop
	}
}
`,
    )
    const file = bridgeRules(host)
    host.output(['nft', '-f', '-'], { input: `flush ruleset\n${file}` })
    for (const attachment of attachments) t.equal(attachment.check().stdout, '', 'nft loads what it has printed')
  }),
)

t.test('without macspoofchk, or with false, there is nothing of it', t =>
  withHost(t, host => {
    const network = new Network(host)
    const attachments = [network.attach(), network.with({ macspoofchk: false }).attach()]
    t.equal(bridgeRules(host), '')
    for (const { port } of attachments) t.equal(host.show('link', 'show', 'dev', port)[0]?.group, 'default')
  }),
)

t.test('ADDs at the same time, the first ones among them, all get their element', t =>
  withHost(t, async host => {
    const attachments = await checkedNetwork(host).attachAtOnce(8)
    t.same(elements(host).toSorted(), attachments.map(one => elementOf(one)).toSorted())
    t.equal(bridgeRules(host).match(/drop$/gm)?.length, 1)
    for (const { container } of attachments) t.ok(container.pings(gateways.ipv4))
  }),
)

const ways: Readonly<Record<string, (attachment: Attachment) => void>> = {
  'as a runtime does': attachment => attachment.del(),
  'without prevResult': attachment => attachment.del({ withoutResult: true }),
  'without namespace': attachment => {
    deleteNamespaces([attachment.container.name])
    attachment.del({ netns: '' })
  },
  'when all is known only from the names': attachment => {
    deleteNamespaces([attachment.container.name])
    attachment.del({ netns: '', withoutResult: true })
  },
  'after its veth was deleted': attachment => {
    attachment.network.host.ip(`link del ${attachment.port}`)
    attachment.del()
  },
  'after its MAC address was changed': attachment => {
    pretend(attachment, '02:00:00:00:00:97')
    attachment.del({ withoutResult: true })
  },
  'after its element was deleted': attachment => {
    nft(attachment.network.host, `flush set bridge cnikit spoof-check/allowed`)
    attachment.del()
  },
  twice: attachment => {
    attachment.del()
    attachment.del()
  },
}

for (const [how, del] of Object.entries(ways))
  t.test(`DEL removes the element: ${how}`, t =>
    withHost(t, host => {
      const network = checkedNetwork(host)
      network.attach().del()
      const before = bridgeRules(host)
      const attachment = network.attach()
      t.equal(elements(host).length, 1)
      del(attachment)
      t.equal(bridgeRules(host), before)
    }),
  )

t.test('DEL leaves other attachments alone, of the same container and of another network too', t =>
  withHost(t, host => {
    const network = checkedNetwork(host)
    const attachment = network.attach({ containerId: 'both' })
    const second = network.attach({ containerId: 'both', ifname: 'net1', container: attachment.container })
    const other = network
      .with({ name: 'othernet', bridge: 'br1', ipam: hostLocal(host, '10.89.0.0/24') })
      .attach({ containerId: 'both' })
    attachment.del({ withoutResult: true })
    t.equal(elements(host).length, 2)
    t.equal(other.check().stdout, '')
    second.del()
    t.same(elements(host), [elementOf(other, 'othernet')])
  }),
)

t.test('GC removes the elements of lost attachments, of its own network only, and the table with the last', t =>
  withHost(t, host => {
    const network = checkedNetwork(host)
    const [kept, lost, third] = [network.attach(), network.attach(), network.attach()]
    const other = network.with({ name: 'podnet2', bridge: 'br1', ipam: hostLocal(host, '10.89.0.0/24') })
    const foreign = other.attach()
    deleteNamespaces([third.container.name])
    network.gc(undefined)
    t.equal(elements(host).length, 4, 'without the key nothing')
    network.gc([kept])
    t.same(elements(host).toSorted(), [elementOf(kept), elementOf(foreign, 'podnet2')].toSorted())
    t.equal(kept.check().stdout, '')
    t.notMatch(elements(host), lost.port)
    network.with({ macspoofchk: false }).gc([])
    t.same(elements(host), [elementOf(foreign, 'podnet2')], 'also when the network no longer asks for the check')
    other.gc([])
    t.equal(bridgeRules(host), '', 'nothing is left')
    t.equal(network.attach().check().stdout, '', 'the next ADD builds anew what it needs')
  }),
)

t.test('GC leaves what an administrator has put into the table, and puts back a rule that is gone', t =>
  withHost(t, host => {
    const network = checkedNetwork(host)
    const attachment = network.attach()
    nft(host, 'add set bridge cnikit mine { type ether_addr ; }')
    nft(host, `add element bridge cnikit spoof-check/allowed { "uplink" . 02:00:00:00:00:01 }`)
    nft(host, 'flush chain bridge cnikit spoof-check/prerouting')
    network.gc([attachment])
    t.equal(attachment.check().stdout, '')
    nft(host, 'delete chain bridge cnikit spoof-check/prerouting')
    network.gc([attachment])
    t.equal(attachment.check().stdout, '')
    network.gc([])
    t.match(bridgeRules(host), '"uplink"', 'an element without a comment')
    nft(host, 'flush set bridge cnikit spoof-check/allowed')
    network.gc([])
    t.equal(bridgeRules(host).trim(), 'table bridge cnikit {\n\tset mine {\n\t\ttype ether_addr\n\t}\n}')
  }),
)

const damages: Readonly<Record<string, [RegExp, (host: Host, attachment: Attachment) => void]>> = {
  'the element is gone': [
    /MAC spoof check of .* set "spoof-check\/allowed" does not have it in nftables table "bridge cnikit"/,
    host => nft(host, 'flush set bridge cnikit spoof-check/allowed'),
  ],
  'the element is for another address': [
    /does not have it/,
    (host, { port }) => {
      nft(host, 'flush set bridge cnikit spoof-check/allowed')
      nft(host, `add element bridge cnikit spoof-check/allowed { "${port}" . 02:00:00:00:00:96 }`)
    },
  ],
  'the rule is gone': [/has no rule for set/, host => nft(host, 'flush chain bridge cnikit spoof-check/prerouting')],
  'the chain is gone': [
    /there is no chain/,
    host => {
      nft(host, 'flush chain bridge cnikit spoof-check/prerouting')
      nft(host, 'delete chain bridge cnikit spoof-check/prerouting')
    },
  ],
  'the table is gone': [/does not have it/, host => nft(host, 'flush ruleset')],
  'the port is in another group': [/is not in the link group/, (host, { port }) => host.ip(`link set ${port} group 0`)],
}

for (const [what, [says, damage]] of Object.entries(damages))
  t.test(`CHECK finds that ${what}`, t =>
    withHost(t, host => {
      const network = checkedNetwork(host)
      const attachment = network.attach()
      t.equal(attachment.check().stdout, '')
      damage(host, attachment)
      const { error } = attachment.check()
      t.equal(error?.code, 105)
      t.match(error?.msg, says)
      attachment.del()
    }),
  )

t.test('ADD that fails at any step leaves the ruleset as it was, and no address of an element', t =>
  withHost(t, host => {
    const network = checkedNetwork(host, { ipMasq: true })
    network.attach().del()
    const neighbour = network.attach()
    const before = snapshot(host)
    const container = host.createContainer()
    let withElement = 0
    failEveryStep(t, network, { container }, (claim, details) => {
      if (/allow no source but/.test(details)) withElement++
      t.same(differences(before, snapshot(host)), [], claim)
    })
    t.equal(withElement, 1, 'the step of the check was among those that failed')
    t.equal(neighbour.check().stdout, '')
  }),
)

t.test('ADD after one of the same attachment that was killed leaves only the new address', t =>
  withHost(t, host => {
    const network = checkedNetwork(host)
    const killed = network.attach({ containerId: 'again' })
    const attachment = network.attach({ containerId: 'again' })
    t.equal(attachment.port, killed.port)
    t.not(macOf(attachment), macOf(killed))
    t.same(elements(host), [elementOf(attachment)])
    t.ok(attachment.container.pings(gateways.ipv4))
  }),
)

t.test('a container in a network and with an id as long as can be', t =>
  withHost(t, host => {
    const network = checkedNetwork(host, { name: 'n'.repeat(200) })
    const attachment = network.attach({ containerId: 'c'.repeat(200) })
    t.equal(attachment.check().stdout, '')
    t.equal(elements(host).length, 1)
    network.gc([attachment])
    t.equal(elements(host).length, 1)
    network.gc([])
    t.equal(bridgeRules(host), '')
  }),
)

t.test('STATUS is silent where the kernel can do it', t =>
  withHost(t, host => {
    const { status, stdout } = checkedNetwork(host).status()
    t.strictSame({ status, stdout }, { status: 0, stdout: '' })
  }),
)

t.test('what the kernel does not know is refused with code 101, and nothing of it is there', t =>
  withHost(t, host => {
    const table = { family: 'bridge', table: 'cnikit' } as const
    const creation = { what: 'a test', table, needs: 'another kernel' }
    // No kernel has address translation for bridges.
    const base = { type: 'nat', hook: 'prerouting', priority: 0 } as const
    withNetfilter(host, socket => {
      const plan = () => [
        createTable(table, { exclusive: true }),
        createChain({ ...table, chain: 'translating' }, base, { exclusive: true }),
      ]
      t.throws(() => createMissing(socket, creation, plan), {
        code: 101,
        message: /^a test: /,
        details: 'another kernel',
      })
    })
    t.equal(bridgeRules(host), '')
  }),
)
