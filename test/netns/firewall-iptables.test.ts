/** Masquerade with the iptables back end, beside the Go bridge plugin; and what the Go plugins left behind. */

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Prefix } from '../../lib/address/prefix.ts'
import { ErrorCode } from '../../lib/cni/errors.ts'
import {
  type Attachment,
  addMasquerade,
  checkMasquerade,
  deleteMasquerade,
  gcMasquerade,
  masqueradeStatus,
} from '../../lib/firewall/masquerade.ts'
import {
  goPluginDirectory,
  type Host,
  mustRunPlugin,
  type NetworkNamespace,
  programPath,
  withHost,
} from '../harness/index.ts'
import { inside, prefix, ruleset } from './firewall-fixture.ts'

const environment = { PATH: programPath }
const attachment = (containerId: string, ifname = 'eth0', network = 'podnet'): Attachment => ({
  network,
  containerId,
  ifname,
})
const dual = (host: number): Prefix[] => [prefix(`10.1.0.${host}/16`), prefix(`fd00:1::${host}/64`)]

const add = (host: Host, whose: Attachment, addresses: Prefix[]) =>
  inside(host, () => addMasquerade('iptables', whose, addresses))
const remove = (host: Host, whose: Attachment, addresses?: Prefix[]) =>
  inside(host, () => deleteMasquerade(whose, addresses && { addresses }).close())
const check = (host: Host, whose: Attachment, addresses: Prefix[]) =>
  inside(host, () => checkMasquerade('iptables', whose, addresses))

/** Both families' nat tables, without the lines that differ from second to second. */
function saved(host: Host, save = ['iptables-save', 'ip6tables-save']): string {
  return save
    .map(program => host.output([program, '-t', 'nat']))
    .join('')
    .split('\n')
    .filter(line => !line.startsWith('#'))
    .join('\n')
}
const rulesIn = (text: string) => text.split('\n').filter(line => line.startsWith('-A ') || line.startsWith(':CNI-'))

const digest = (text: string) => createHash('sha512').update(text).digest('hex').slice(0, 16)
/** The comment of a rule of the Go plugins from 1.6 on (pkg/ip/ipmasq_nftables_linux.go); Debian's are older. */
const goComment = (network: string, ifname: string, containerId: string) =>
  `${digest(network)}-${digest(`${ifname}:${containerId}`)}, net: ${network}, if: ${ifname}, id: ${containerId}`

/** Page faults of this process's ended children: a program that was run has left some. */
const faultsOfChildren = (): number => Number(readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ')[8])

/** Attaches or detaches the container with Debian's Go bridge plugin: its host-local begins with .2. */
function goBridge(host: Host, command: 'ADD' | 'DEL', netns: NetworkNamespace, whose: Attachment): void {
  mustRunPlugin('bridge', {
    host,
    command,
    containerId: whose.containerId,
    ifname: whose.ifname,
    netns,
    pluginDir: goPluginDirectory,
    environment,
    config: {
      cniVersion: '0.4.0',
      name: whose.network,
      type: 'bridge',
      bridge: 'br0',
      isGateway: true,
      ipMasq: true,
      ipam: {
        type: 'host-local',
        dataDir: host.dataDirectory,
        ranges: [[{ subnet: '10.1.0.0/16' }], [{ subnet: 'fd00:1::/64' }]],
      },
    },
  })
}

const withGo = {
  skip: existsSync(join(goPluginDirectory, 'bridge')) ? false : 'containernetworking-plugins is not installed',
}

t.test('the rules are those of the Go plugin, byte for byte', withGo, async t => {
  let ofGo = ''
  await t.test('as the Go plugin makes them', t =>
    withHost(t, host => {
      goBridge(host, 'ADD', host.createContainer(), attachment('one'))
      goBridge(host, 'ADD', host.createContainer(), attachment('two'))
      ofGo = saved(host)
      t.equal(rulesIn(ofGo).length, 2 * 2 * 4)
    }),
  )
  await t.test('as cnikit makes them', t =>
    withHost(t, host => {
      add(host, attachment('one'), dual(2))
      add(host, attachment('two'), dual(3))
      t.equal(saved(host), ofGo)
      check(host, attachment('one'), dual(2))
    }),
  )
})

t.test('CHECK with nftables accepts an attachment that the Go plugin made', withGo, t =>
  withHost(t, host => {
    const checkNftables = (whose: Attachment, addresses: Prefix[]) => () =>
      inside(host, () => checkMasquerade('nftables', whose, addresses))
    goBridge(host, 'ADD', host.createContainer(), attachment('one'))
    t.doesNotThrow(checkNftables(attachment('one'), dual(2)))
    t.throws(checkNftables(attachment('one'), dual(3)), { code: ErrorCode.checkFailed, message: /does not have it/ })
    t.throws(checkNftables(attachment('two'), dual(2)), { code: ErrorCode.checkFailed })
    host.output(['iptables', '-t', 'nat', '-F', 'POSTROUTING'])
    t.throws(checkNftables(attachment('one'), dual(2)), { code: ErrorCode.checkFailed })
  }),
)

t.test('the Go plugin cleans up what cnikit made', withGo, t =>
  withHost(t, host => {
    const container = host.createContainer()
    goBridge(host, 'ADD', container, attachment('one'))
    const rules = saved(host)
    remove(host, attachment('one'), dual(2))
    t.same(rulesIn(saved(host)), [], 'cnikit cleans up what the Go plugin made')
    add(host, attachment('one'), dual(2))
    t.equal(saved(host), rules)
    goBridge(host, 'DEL', container, attachment('one'))
    t.same(rulesIn(saved(host)), [])
  }),
)

t.test('DEL without addresses removes what the container has in the network', withGo, t =>
  withHost(t, host => {
    goBridge(host, 'ADD', host.createContainer(), attachment('one'))
    add(host, attachment('two'), dual(9))
    add(host, attachment('one', 'eth0', 'other'), dual(8))
    const others = rulesIn(saved(host)).filter(line => line.includes('"two') || line.includes('"other'))
    remove(host, attachment('one'), [])
    t.equal(rulesIn(saved(host)).length, 24, 'an attachment known to have no addresses has no rules')
    remove(host, attachment('one'))
    t.same(
      rulesIn(saved(host)).filter(line => !line.startsWith(':')),
      others,
    )
    check(host, attachment('two'), dual(9))
    check(host, attachment('one', 'eth0', 'other'), dual(8))
  }),
)

t.test('two attachments of a container to a network share the chain, which goes with the last', t =>
  withHost(t, host => {
    add(host, attachment('one', 'eth0'), dual(5))
    const single = saved(host)
    add(host, attachment('one', 'eth1'), dual(6))
    check(host, attachment('one', 'eth0'), dual(5))
    check(host, attachment('one', 'eth1'), dual(6))
    remove(host, attachment('one', 'eth1'), dual(6))
    t.equal(saved(host), single)
    check(host, attachment('one', 'eth0'), dual(5))
    remove(host, attachment('one', 'eth0'), dual(5))
    t.same(rulesIn(saved(host)), [])
  }),
)

t.test('ADD twice changes nothing', t =>
  withHost(t, host => {
    add(host, attachment('one'), dual(5))
    const once = saved(host)
    add(host, attachment('one'), dual(5))
    t.equal(saved(host), once)
  }),
)

t.test('a second subnet is accepted before the rest is masqueraded', t =>
  withHost(t, host => {
    add(host, attachment('one'), [prefix('10.1.0.5/16')])
    add(host, attachment('one'), [prefix('10.1.0.5/16'), prefix('10.2.0.5/16')])
    const targets = rulesIn(saved(host))
      .filter(line => line.startsWith('-A CNI-'))
      .map(line => line.split(' ').at(-1))
    t.same(targets, ['ACCEPT', 'ACCEPT', 'MASQUERADE'])
    check(host, attachment('one'), [prefix('10.1.0.5/16'), prefix('10.2.0.5/16')])
  }),
)

t.test('CHECK names the rule that is missing', t =>
  withHost(t, host => {
    const missing = (message: RegExp, ...rule: string[]) => {
      add(host, attachment('one'), dual(5))
      host.output(['iptables', '-t', 'nat', ...rule])
      t.throws(() => check(host, attachment('one'), dual(5)), { code: ErrorCode.checkFailed, message })
      remove(host, attachment('one'))
    }
    missing(
      /masquerade of 10\.1\.0\.5: iptables has no rule "POSTROUTING -s 10\.1\.0\.5\/32 -j CNI-/,
      '-F',
      'POSTROUTING',
    )
    add(host, attachment('one'), dual(5))
    const chain = /:(CNI-\S+)/.exec(saved(host))?.[1] ?? ''
    missing(/no rule "CNI-\S+ -d 10\.1\.0\.0\/16 -j ACCEPT"/, '-D', chain, '1')
    missing(/no rule "CNI-\S+ -j MASQUERADE"/, '-D', chain, '2')
  }),
)

t.test('names with quotes, blanks and backslashes stay one comment', t =>
  withHost(t, host => {
    const odd = attachment('id "x" \\ y', 'eth0', 'net; \\"work\\"')
    add(host, odd, dual(5))
    check(host, odd, dual(5))
    add(host, odd, dual(5))
    t.equal(rulesIn(saved(host)).length, 8)
    remove(host, odd, dual(5))
    t.same(rulesIn(saved(host)), [])
  }),
)

t.test('GC removes containers that are not valid, whoever made their rules', withGo, t =>
  withHost(t, host => {
    goBridge(host, 'ADD', host.createContainer(), attachment('go-dead'))
    goBridge(host, 'ADD', host.createContainer(), attachment('go-alive'))
    add(host, attachment('dead'), dual(20))
    add(host, attachment('alive'), dual(21))
    add(host, attachment('dead', 'eth0', 'other'), dual(22))
    host.output(['iptables', '-t', 'nat', '-A', 'POSTROUTING', '-s', '192.0.2.0/24', '-j', 'MASQUERADE'])
    inside(host, () => gcMasquerade('podnet', [attachment('go-alive'), attachment('alive')]))
    const owners = rulesIn(saved(host)).map(line =>
      /name: \\"(\w+)\\" id: \\"([\w-]+)\\"/.exec(line)?.slice(1).join(' '),
    )
    t.same([...new Set(owners.filter(owner => owner !== undefined))].sort(), [
      'other dead',
      'podnet alive',
      'podnet go-alive',
    ])
    check(host, attachment('alive'), dual(21))
    t.match(saved(host), /-A POSTROUTING -s 192.0.2.0\/24 -j MASQUERADE/, 'rules of others stay')
  }),
)

t.test("an attachment in the Go plugin's nftables table is accepted by CHECK and removed by DEL and by GC", t =>
  withHost(t, host => {
    const rule = (comment: string, address: number) =>
      `add rule inet cni_plugins_masquerade masq_checks ip saddr 10.1.0.${address} ip daddr != 10.1.0.0/16 masquerade comment "${comment}"\n`
    host.output(['nft', '-f', '-'], {
      input: `add table inet cni_plugins_masquerade
add chain inet cni_plugins_masquerade masq_checks
${rule(goComment('podnet', 'eth0', 'one'), 5)}${rule(goComment('podnet', 'eth1', 'one'), 6)}${rule(goComment('podnet', 'eth0', 'two'), 7)}${rule(goComment('other', 'eth0', 'one'), 8)}`,
    })
    inside(host, () => checkMasquerade('nftables', attachment('one'), dual(5)))
    t.throws(() => inside(host, () => checkMasquerade('nftables', attachment('three'), dual(5))), {
      code: ErrorCode.checkFailed,
    })
    const left = () => [...ruleset(host).matchAll(/ip saddr (\S+)/g)].map(match => match[1])
    remove(host, attachment('one'), dual(5))
    t.same(left(), ['10.1.0.6', '10.1.0.7', '10.1.0.8'])
    inside(host, () => gcMasquerade('podnet', [attachment('two')]))
    t.same(left(), ['10.1.0.7', '10.1.0.8'])
  }),
)

t.test('DEL and GC of a host without any rules run no program', t =>
  withHost(t, host => {
    const before = faultsOfChildren()
    inside(host, () => {
      deleteMasquerade(attachment('one')).close()
      deleteMasquerade(attachment('one'), { addresses: dual(5) }).close()
      gcMasquerade('podnet', [])
    })
    t.equal(faultsOfChildren(), before)
    add(host, attachment('one'), dual(5))
    const after = faultsOfChildren()
    t.ok(after > before, 'where one is run it shows')
    inside(host, () => deleteMasquerade(attachment('one'), { addresses: dual(5) }).close())
    t.equal(faultsOfChildren(), after, 'what iptables-nft keeps is deleted without it')
    t.same(rulesIn(saved(host)), [])
  }),
)

t.test('the old iptables: rules made with it are removed', t =>
  withHost(t, host => {
    const legacy = ['iptables-legacy', 'ip6tables-legacy']
    const works = legacy.every(program => host.execute([program, '-t', 'nat', '-L', '-n']).status === 0)
    if (works) legacyTest(t, host)
    else t.test('legacy', { skip: 'NOT TESTED: no iptables-legacy, or no nat table for it in the kernel' }, () => {})
  }),
)

function legacyTest(t: Test, host: Host): void {
  const save = ['iptables-legacy-save', 'ip6tables-legacy-save']
  add(host, attachment('one', 'eth0'), dual(5))
  add(host, attachment('one', 'eth1'), dual(6))
  add(host, attachment('two'), dual(7))
  const [four, six] = [host.output(['iptables-save']), host.output(['ip6tables-save'])]
  host.output(['nft', 'flush', 'ruleset'])
  host.output(['iptables-legacy-restore'], { input: four })
  host.output(['ip6tables-legacy-restore'], { input: six })
  t.equal(rulesIn(saved(host, save)).length, 2 * (5 + 4))
  remove(host, attachment('one', 'eth1'), dual(6))
  t.notMatch(saved(host, save), /10\.1\.0\.6|fd00:1::6/)
  t.match(saved(host, save), /-s 10\.1\.0\.5\/32/, 'the chain stays for the other attachment')
  remove(host, attachment('one', 'eth0'), dual(5))
  t.equal(rulesIn(saved(host, save)).length, 2 * 4)
  inside(host, () => gcMasquerade('podnet', []))
  t.same(rulesIn(saved(host, save)), [])
}

t.test('STATUS is fine where the programs are', t =>
  withHost(t, host => {
    inside(host, () => masqueradeStatus('iptables'))
    t.equal(ruleset(host), '', 'and it changes nothing')
  }),
)
