/** portmap's verbs: what ADD makes as nft shows it, what CHECK finds, what GC takes away, and ADDs that do not come to their end. */

import t from 'tap'
import { nftablesPortForwarding } from '../../lib/firewall/nftables/port-forwarding.ts'
import { type Attachment, answerOf, differences, snapshot, withHost } from '../harness/index.ts'
import { countingMessages, inside, matchesGolden, ruleset } from './firewall-fixture.ts'
import { hostAddresses, type Mapping, PublishingHost, portRange } from './portmap-fixture.ts'
import { forwarding } from './portmap-iptables-fixture.ts'

const { uplink } = hostAddresses

/** One of each kind. */
const everyKind: Mapping[] = [
  { hostPort: 8080, containerPort: 80 },
  { hostPort: 53, containerPort: 5353, protocol: 'UDP' },
  { hostPort: 8443, containerPort: 443, hostIP: uplink.ipv4 },
  { hostPort: 8443, containerPort: 443, hostIP: uplink.ipv6 },
  { hostPort: 8081, containerPort: 80, hostIP: '127.0.0.1' },
  ...portRange(9000, 100, { protocol: 'sctp' }),
  ...portRange(7000, 10, { hostIP: uplink.ipv6 }),
]

const scenarios: Readonly<Record<string, { keys: object; mappings: Mapping[] }>> = {
  'one-port': { keys: {}, mappings: [{ hostPort: 8080, containerPort: 80 }] },
  'every-kind': { keys: {}, mappings: everyKind },
  'masquerade-all': { keys: { masqAll: true }, mappings: [{ hostPort: 8080, containerPort: 80 }] },
  'no-snat': { keys: { snat: false, markMasqBit: 7 }, mappings: [{ hostPort: 8080, containerPort: 80 }] },
}

for (const [name, { keys, mappings }] of Object.entries(scenarios)) {
  t.test(`${name}: nft shows it as it was meant, and loads what it has shown`, t =>
    withHost(t, host => {
      const hosts = new PublishingHost(host, { backend: 'nftables', ...keys })
      const { bridge, ports } = hosts.publish(mappings, { containerId: 'one' })
      const shown = ruleset(host)
      // The number of the container's namespace is another every time.
      matchesGolden(t, shown.replace(/ one eth0 \d+"/g, ' one eth0 4026532000"'), `portmap-${name}.nft`)
      host.output(['nft', '-f', '-'], { input: `flush ruleset\n${shown}` })
      t.equal(ruleset(host), shown)
      t.equal(ports.check().stdout, '')
      t.same(ports.result, { ...bridge.result }, 'the result is that of the plugins before')
    }),
  )
}

t.test('the result of every version is passed on, and without mappings nothing is done', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const { bridge } = hosts.prepare([])
    const before = snapshot(host)
    const { ips = [] } = bridge.result
    for (const cniVersion of ['0.2.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
      const old = { cniVersion, ip4: { ip: ips[0]?.address }, ip6: { ip: ips[1]?.address } }
      const prevResult = cniVersion === '0.2.0' ? old : { ...bridge.result, cniVersion }
      const network = hosts.ports.with({ cniVersion })
      for (const portMappings of [undefined, [], everyKind]) {
        const attachment = network.attachment({
          containerId: bridge.containerId,
          container: bridge.container,
          config: { prevResult, runtimeConfig: { portMappings } },
        })
        const answer = attachment.tryAdd()
        t.equal(answer.status, 0, cniVersion)
        t.match(answer.json, cniVersion === '0.2.0' ? old : { ips: ips.map(({ address }) => ({ address })) })
        if (portMappings === everyKind) attachment.del()
        else t.same(differences(before, snapshot(host)), [], 'nothing')
      }
      host.output(['nft', 'delete', 'table', 'inet', 'cnikit-portmap'])
      host.output(['sysctl', '-qw', 'net.ipv4.conf.br0.route_localnet=0'])
    }
  }),
)

const damages: Readonly<Record<string, readonly [command: string, says: RegExp]>> = {
  'an element is gone': ['delete element inet cnikit-portmap ports { tcp . 8080 }', /^TCP port 8080: no map has it/],
  'an element leads elsewhere': [
    'delete element inet cnikit-portmap ports { udp . 53 }\nadd element inet cnikit-portmap ports { udp . 53 comment "podnet one eth0 1" : 10.88.0.9 . 53 }',
    /^UDP port 53: it leads to 10\.88\.0\.9/,
  ],
  'an element is another container’s': [
    'delete element inet cnikit-portmap ports { udp . 53 }\nadd element inet cnikit-portmap ports { udp . 53 comment "podnet two eth0 1" : 10.88.0.2 . 5353 }',
    /^UDP port 53: its element is another's \(podnet two eth0 1\)/,
  ],
  'a range is gone': ['flush map inet cnikit-portmap port-ranges6', /^SCTP ports 9000-9099: no map has it/],
  'a rule is gone': ['flush chain inet cnikit-portmap prerouting', /chain "prerouting" is gone .* or has other rules/],
  'masquerade is gone': ['flush chain inet cnikit-portmap postrouting', /^masquerade for published ports: /],
  'the table is gone': ['delete table inet cnikit-portmap', /map "address-ports" is gone from nftables table/],
}

for (const [what, [command, says]] of Object.entries(damages)) {
  t.test(`CHECK finds that ${what}, GC or a new ADD mends it`, t =>
    withHost(t, host => {
      const hosts = new PublishingHost(host)
      const { ports } = hosts.publish(everyKind, { containerId: 'one' })
      host.output(['nft', '-f', '-'], { input: command })
      const { error } = ports.check()
      t.equal(error?.code, 105)
      t.match(error?.msg, says)
      t.match(error?.details, /create the container again/)
      hosts.ports.gc([ports])
      ports.add()
      t.equal(ports.check().stdout, '')
    }),
  )
}

t.test('GC removes what no valid attachment has, of this network alone, and at last the table', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const before = ruleset(host)
    const other = hosts.ports.with({ name: 'other-net' })
    const [kept, lost] = [
      hosts.publish(everyKind),
      hosts.publish([{ hostPort: 1, containerPort: 1 }, ...portRange(100, 10)]),
    ]
    const foreign = hosts.publishing(hosts.network.attach(), [{ hostPort: 2, containerPort: 2 }], other)
    foreign.add()
    hosts.ports.gc(undefined)
    t.equal(lost.ports.check().stdout, '', 'nobody says what is valid: nothing goes')
    hosts.ports.gc([kept.ports])
    t.equal(kept.ports.check().stdout, '')
    t.equal(foreign.check().stdout, '')
    t.match(lost.ports.check().error?.msg, /^TCP port 1: no map has it/)
    hosts.ports.gc([])
    t.equal(foreign.check().stdout, '')
    other.gc([])
    t.equal(ruleset(host), before)
  }),
)

t.test('GC leaves what an administrator has put into the table', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    hosts.publish([{ hostPort: 1, containerPort: 1 }])
    host.output(['nft', 'add', 'chain', 'inet', 'cnikit-portmap', 'mine'])
    hosts.ports.gc([])
    t.match(hosts.nft(), /table inet cnikit-portmap \{\s+chain mine \{\s+\}\s+\}/)
  }),
)

t.test('thousands of elements go in several batches', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const { ports } = hosts.publish(portRange(10_001, 2_500, { containerPort: 1 }))
    t.equal(ports.check().stdout, '')
    hosts.ports.gc([])
    t.notMatch(hosts.nft(), /cnikit-portmap/)
  }),
)

t.test('a failure at any step of ADD leaves nothing', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    // The table stays; what stays on the bridge's interface of localhost is not undone either.
    hosts.publish([{ hostPort: 1, containerPort: 1 }])
    const { bridge } = hosts.prepare(everyKind)
    const before = snapshot(host)
    let failing = 1
    for (; ; failing++) {
      const attachment = hosts.ports.attachment({
        containerId: bridge.containerId,
        container: bridge.container,
        environment: { CNIKIT_FAIL_STEP: String(failing) },
        config: { prevResult: bridge.result, runtimeConfig: { portMappings: everyKind } },
      })
      const { status, error } = attachment.tryAdd()
      if (status === 0) break
      t.match(error, { code: 199, msg: `CNIKIT_FAIL_STEP=${failing} makes this step fail` })
      t.notMatch(error?.details, /cannot undo/)
      t.same(differences(before, snapshot(host)), [], error?.details ?? '')
    }
    t.ok(failing > 3, `${failing - 1} steps`)
  }),
)

t.test('an ADD that is refused or repeated after a failure does not harm what is there', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const { bridge, ports } = hosts.publish([{ hostPort: 8080, containerPort: 80 }])
    const before = snapshot(host)
    const again = hosts.ports.attachment({
      containerId: bridge.containerId,
      container: bridge.container,
      environment: { CNIKIT_FAIL_STEP: '2' },
      config: ports.options.config ?? {},
    })
    t.equal(again.tryAdd().error?.code, 199)
    t.same(differences(before, snapshot(host)), [], 'the repeated ADD had added nothing, and so removes nothing')
  }),
)

t.test('twenty at once are all served, and none of those that want the same port is but one', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host)
    const prepared = Array.from({ length: 20 }, (_, index) =>
      hosts.prepare([{ hostPort: 8000 + index, containerPort: 80 }, ...(index < 5 ? portRange(9000, 20) : [])]),
    )
    const run = async (command: string, attachments: readonly Attachment[]) =>
      Promise.all(attachments.map(async one => answerOf(await hosts.ports.start(one.request(command)).ended)))
    const answers = await run(
      'ADD',
      prepared.map(({ ports }) => ports),
    )
    const served = prepared.filter((_, index) => answers[index]?.status === 0).map(({ ports }) => ports)
    t.equal(served.length, 16)
    t.same(new Set(answers.filter(({ status }) => status !== 0).map(({ error }) => error?.code)), new Set([104]))
    const deleted = await run('DEL', served)
    t.ok(deleted.every(({ status }) => status === 0))
    t.notMatch(hosts.nft(), /elements/)
  }),
)

t.test('STATUS tells whether the back end works', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    t.equal(hosts.ports.status().stdout, '')
    t.equal(hosts.ports.status({ backend: 'iptables' }).stdout, '')
    t.match(hosts.ports.status({ backend: 'nftables', conditionsV4: ['-d', '1.2.3.4'] }).error, { code: 7 })
  }),
)

t.test('ADD and DEL exchange as many messages beside a thousand ports as beside none', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const environment = {}
    const count = () => {
      const attachment = { network: 'podnet', containerId: 'counted', ifname: 'eth0' }
      const wanted = forwarding(['8080:80/tcp', '192.0.2.1=53:53/tcp'], ['10.88.9.9/24', 'fd00:88::999/64'])
      return inside(host, () => {
        const add = countingMessages(() => nftablesPortForwarding.add(attachment, wanted, { environment }))
        const del = countingMessages(() => nftablesPortForwarding.delete(attachment, wanted, { environment }))
        return { add, del }
      })
    }
    hosts.publish([{ hostPort: 1, containerPort: 1 }])
    // The sets of the network are made once.
    count()
    const alone = count()
    hosts.publish([...portRange(10_001, 500, { containerPort: 1 }), ...portRange(2_000, 500)])
    hosts.publish(portRange(20_001, 500, { containerPort: 1 }))
    t.same(count(), alone)
  }),
)

t.test('a table that is there in part is completed by ADD, and by GC', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host)
    const one = hosts.publish([{ hostPort: 8080, containerPort: 80 }])
    for (const damage of [
      'delete chain inet cnikit-portmap postrouting',
      'flush chain inet cnikit-portmap published\ndelete map inet cnikit-portmap address-ports6',
      'flush ruleset\nadd table inet cnikit-portmap',
    ]) {
      host.output(['nft', '-f', '-'], { input: damage })
      const { ports } = hosts.publish([{ hostPort: 9090, containerPort: 80 }])
      hosts.ports.gc([one.ports, ports])
      t.equal(ports.check().stdout, '', damage)
      ports.del()
    }
    one.ports.del()
  }),
)
