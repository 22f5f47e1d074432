/** Forwarding with iptables: its rules beside those of the Go firewall plugin, and whose they are. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ErrorCode } from '../../lib/cni/errors.ts'
import type { Attachment } from '../../lib/firewall/attachment.ts'
import { iptablesForwarding } from '../../lib/firewall/iptables/forwarding.ts'
import { type Answer, goPluginDirectory, type Host, runPlugin, withHost } from '../harness/index.ts'
import { inside } from './firewall-fixture.ts'
import {
  add,
  check,
  dual,
  gc,
  isolated,
  options,
  remove,
  rulesOf,
  sameBridge,
  wanted,
} from './firewall-plugin-iptables-fixture.ts'
import { attachment, saved } from './portmap-iptables-fixture.ts'

/** The Go plugin as the runtime calls it for the attachment. */
function goFirewall(
  host: Host,
  command: string,
  whose: Attachment,
  addresses: readonly string[],
  keys: object = {},
): Answer {
  return runPlugin('firewall', {
    host,
    command,
    containerId: whose.containerId,
    ifname: whose.ifname,
    netns: '/var/run/netns/none',
    pluginDir: goPluginDirectory,
    environment: options.environment,
    config: {
      cniVersion: '1.0.0',
      name: whose.network,
      type: 'firewall',
      backend: 'iptables',
      ...keys,
      prevResult: {
        cniVersion: '1.0.0',
        interfaces: [{ name: 'br0' }, { name: whose.ifname, sandbox: '/var/run/netns/none' }],
        ips: addresses.map(address => ({ interface: 1, address: `${address}/${address.includes(':') ? 64 : 16}` })),
      },
    },
  })
}

/** What is accepted, and who wants that. */
const ofContainers = (host: Host): string[] =>
  rulesOf(host)
    .split('\n')
    .filter(line => /^-A (CNI-FORWARD|CNIKIT-FORWARD-OWNERS) -[sd]/.test(line))
const asGo = (text: string): string =>
  text
    .split('\n')
    .filter(line => !line.includes('CNIKIT-FORWARD-OWNERS'))
    .join('\n')

const withGo = {
  skip: existsSync(join(goPluginDirectory, 'firewall')) ? false : 'containernetworking-plugins is not installed',
}

for (const [name, ingress, keys, ours] of [
  ['open', undefined, {}, {}],
  ['same-bridge', sameBridge('br0'), { ingressPolicy: 'same-bridge' }, {}],
  ['another admin chain', undefined, { iptablesAdminChainName: 'OPERATOR' }, { adminChain: 'OPERATOR' }],
] as const) {
  t.test(`the rules are those of the Go plugin, and either side checks and removes the other's: ${name}`, withGo, t =>
    withHost(t, host => {
      const one = attachment('one')
      const go = (command: string) => goFirewall(host, command, one, dual(5), keys)
      const checked = () =>
        inside(host, () => iptablesForwarding.check(one, wanted(dual(5), ingress), { ...options, ...ours }))
      t.equal(go('ADD').status, 0)
      const ofGo = rulesOf(host)
      t.doesNotThrow(checked)
      remove(host, one, dual(5))
      t.same(ofContainers(host), [], 'DEL removes what the Go plugin made')

      for (const program of ['iptables', 'ip6tables']) {
        host.output([program, '-F'])
        host.output([program, '-X'])
      }
      t.equal(add(host, one, dual(5), ingress, ours), true)
      t.equal(asGo(rulesOf(host)), ofGo)
      t.doesNotThrow(checked)
      t.equal(go('CHECK').status, 0, 'CHECK of the Go plugin')
      t.equal(go('DEL').status, 0)
      t.notMatch(rulesOf(host), /-A CNI-FORWARD -[sd]/, 'DEL of the Go plugin removes what cnikit made')
      remove(host, one)
      t.same(ofContainers(host), [])
    }),
  )
}

t.test('ADD twice changes nothing, and says so', t =>
  withHost(t, host => {
    t.equal(add(host, attachment('one'), dual(5), isolated('br0', 'br1')), true)
    const once = rulesOf(host)
    t.equal(add(host, attachment('one'), dual(5), isolated('br0', 'br1')), false)
    t.equal(rulesOf(host), once)
    t.equal(add(host, attachment('two'), [], sameBridge('br2')), false, 'a policy is nobody’s own')
    t.match(rulesOf(host), /-A CNI-ISOLATION-STAGE-2 -o br2 /)
  }),
)

t.test('DEL without addresses removes what is the attachment’s own, and nothing of others', t =>
  withHost(t, host => {
    add(host, attachment('two'), dual(6))
    add(host, attachment('one', 'eth1'), dual(7))
    add(host, attachment('one', 'eth0', 'othernet'), dual(5))
    const others = rulesOf(host)
    add(host, attachment('one'), dual(5))
    remove(host, attachment('one'))
    t.equal(rulesOf(host), others, 'an address that two networks have stays with the other')
    remove(host, attachment('one'), dual(6))
    t.equal(rulesOf(host), others, 'what DEL is told of does not count against an owner')
    remove(host, attachment('one', 'eth0', 'othernet'))
    t.notMatch(rulesOf(host), /10\.1\.0\.5|fd00:1::5/)
  }),
)

t.test('an address has one owner in a network: the one that was added last', t =>
  withHost(t, host => {
    add(host, attachment('lost'), dual(5))
    add(host, attachment('one'), dual(5))
    t.notMatch(rulesOf(host), /lost/)
    remove(host, attachment('lost'))
    check(host, attachment('one'), dual(5))
    remove(host, attachment('one'))
    t.same(ofContainers(host), [])
  }),
)

t.test('GC removes what is not valid in the network', t =>
  withHost(t, host => {
    add(host, attachment('dead'), dual(5), isolated('br0'))
    add(host, attachment('alive', 'eth0'), dual(6), isolated('br0'))
    add(host, attachment('alive', 'eth1'), dual(7))
    add(host, attachment('dead', 'eth0', 'othernet'), dual(8), sameBridge('br0', 'br1'))
    gc(host, 'podnet', [attachment('alive')])
    const left = () => [...rulesOf(host).matchAll(/-A CNI-FORWARD -s 10\.1\.0\.(\d+)/g)].map(match => match[1])
    t.same(left(), ['6', '8'])
    t.match(rulesOf(host), /-A CNI-ISOLATION-STAGE-1 -i br0 -o br0 .* -j DROP/)
    gc(host, 'podnet', [])
    t.same(left(), ['8'])
    t.notMatch(rulesOf(host), /-i br0 -o br0/, 'nobody wants isolation any more')
    t.match(rulesOf(host), /-A CNI-ISOLATION-STAGE-2 -o br0 .* -j DROP/, 'but somebody wants the other')
    gc(host, 'othernet', [])
    t.same(ofContainers(host), [])
    t.notMatch(rulesOf(host), /br[01]/)
  }),
)

t.test('of two policies for one interface the stricter is obeyed, until its network wants it no more', t =>
  withHost(t, host => {
    const within = /-A CNI-ISOLATION-STAGE-1 -i br0 -o br0 /
    add(host, attachment('one'), dual(5), isolated('br0'))
    add(host, attachment('two', 'eth0', 'othernet'), dual(6), sameBridge('br0'))
    t.match(rulesOf(host), within)
    check(host, attachment('two', 'eth0', 'othernet'), dual(6), sameBridge('br0'))
    add(host, attachment('three'), dual(7), sameBridge('br0'))
    t.notMatch(rulesOf(host), within)
  }),
)

t.test('the policies are asked before anything is accepted, in whatever order the chains came', t =>
  withHost(t, host => {
    const jumps = () => [...rulesOf(host).matchAll(/-A FORWARD .*-j (\S+)/g)].map(match => match[1])
    const expected = ['CNI-ISOLATION-STAGE-1', 'CNI-FORWARD']
    add(host, attachment('one'), [], sameBridge('br0'))
    add(host, attachment('one'), dual(5))
    t.same(jumps(), [...expected, ...expected], 'the policy first')
    host.output(['iptables', '-D', 'FORWARD', '1'])
    host.output(['iptables', '-A', 'FORWARD', '-j', 'CNI-ISOLATION-STAGE-1'])
    t.throws(() => check(host, attachment('one'), dual(5), sameBridge('br0')), {
      code: ErrorCode.checkFailed,
      message: /firewall: iptables does not come to CNI-ISOLATION-STAGE-1 in chain FORWARD before/,
    })
    add(host, attachment('one'), dual(5), sameBridge('br0'))
    t.same(jumps(), [...expected, ...expected], 'the wrong order is put right')
    check(host, attachment('one'), dual(5), sameBridge('br0'))
  }),
)

t.test('CHECK names the rule that is missing and changes nothing', t =>
  withHost(t, host => {
    const broken = (message: RegExp, ...rule: string[]) => {
      add(host, attachment('one'), ['10.1.0.5'], isolated('br0'))
      check(host, attachment('one'), ['10.1.0.5'], isolated('br0'))
      host.output(['iptables', ...rule])
      const before = rulesOf(host)
      t.throws(() => check(host, attachment('one'), ['10.1.0.5'], isolated('br0')), {
        code: ErrorCode.checkFailed,
        message,
      })
      t.equal(rulesOf(host), before)
    }
    broken(/firewall: iptables has no rule "FORWARD .*-j CNI-FORWARD"/, '-F', 'FORWARD')
    broken(/has no rule "CNI-FORWARD .*-j CNI-ADMIN"/, '-D', 'CNI-FORWARD', '1')
    broken(/has no rule "CNI-FORWARD -d 10\.1\.0\.5\/32 -m conntrack .*ACCEPT"/, '-D', 'CNI-FORWARD', '2')
    broken(/has no rule "CNI-FORWARD -s 10\.1\.0\.5\/32 -j ACCEPT"/, '-D', 'CNI-FORWARD', '2')
    broken(/has no rule "CNI-ISOLATION-STAGE-1 -i "br0" -o "br0" .*DROP"/, '-D', 'CNI-ISOLATION-STAGE-1', '1')
    broken(/has no rule "CNI-ISOLATION-STAGE-2 .*-j RETURN"/, '-F', 'CNI-ISOLATION-STAGE-2')
  }),
)

t.test("where no chain is, DEL and GC run no program; an operator's rules are never touched", t =>
  withHost(t, host => {
    remove(host, attachment('one'))
    remove(host, attachment('one'), dual(5))
    gc(host, 'podnet', [])
    t.equal(host.output(['nft', 'list', 'tables']), '', 'iptables-save would have left a table')
    add(host, attachment('one'), dual(5))
    host.output(['iptables', '-A', 'CNI-ADMIN', '-s', '10.1.0.5', '-j', 'ACCEPT'])
    host.output(['iptables', '-A', 'CNI-FORWARD', '-s', '10.1.0.5', '-p', 'icmp', '-j', 'DROP'])
    remove(host, attachment('one'))
    gc(host, 'podnet', [])
    t.match(rulesOf(host), /-A CNI-ADMIN -s 10\.1\.0\.5\/32 -j ACCEPT/)
    t.match(rulesOf(host), /-A CNI-FORWARD -s 10\.1\.0\.5\/32 -p icmp -j DROP/)
  }),
)

t.test('the old iptables: rules made with it are removed', t =>
  withHost(t, host => {
    const works = ['iptables-legacy', 'ip6tables-legacy'].every(
      program => host.execute([program, '-L', '-n']).status === 0,
    )
    if (!works) {
      t.test('legacy', { skip: 'NOT TESTED: no iptables-legacy, or no filter table for it in the kernel' }, () => {})
      return
    }
    add(host, attachment('one'), dual(5))
    add(host, attachment('two'), dual(6))
    const [four, six] = [host.output(['iptables-save']), host.output(['ip6tables-save'])]
    host.output(['nft', 'flush', 'ruleset'])
    host.output(['iptables-legacy-restore'], { input: four })
    host.output(['ip6tables-legacy-restore'], { input: six })
    remove(host, attachment('one'))
    t.notMatch(saved(host, 'filter', '-legacy'), /10\.1\.0\.5|fd00:1::5/)
    t.match(saved(host, 'filter', '-legacy'), /-A CNI-FORWARD -s 10\.1\.0\.6\/32/)
    gc(host, 'podnet', [])
    t.notMatch(saved(host, 'filter', '-legacy'), /-A CNI-FORWARD -[sd]/)
  }),
)
