/** Port forwarding with iptables: its rules beside those of the Go portmap plugin, and whose they are. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ErrorCode } from '../../lib/cni/errors.ts'
import { goPluginDirectory, programPath, withHost } from '../harness/index.ts'
import {
  add,
  attachment,
  check,
  dual,
  forwarding,
  gc,
  goPortmap,
  numberOf,
  ofContainers,
  remove,
  saved,
  status,
} from './portmap-iptables-fixture.ts'

const withGo = {
  skip: existsSync(join(goPluginDirectory, 'portmap')) ? false : 'containernetworking-plugins is not installed',
}

const many = Array.from({ length: 17 }, (_, index) => `${9000 + index}:${80 + index}/tcp`)
const mixed = ['8080:80/tcp', '8080:80/udp', '192.0.2.1=8443:443/tcp', '0.0.0.0=8444:444/tcp', 'fd00::9=8445:445/tcp']

/** Without what only cnikit writes: whose rules they are, and that ::1 stays with the host. */
const asGo = (text: string): string =>
  text
    .split('\n')
    .filter(
      line => !/^-A CNI-DN-\S+ -m comment --comment "podnet one eth0 \d+"$/.test(line) && !line.includes('-d ::1/128 '),
    )
    .join('\n')

const variations = {
  'many ports and a few of each kind': { mappings: [...mixed, ...many, '7000:7000/sctp'], ours: {}, theirs: {} },
  'without snat': { mappings: mixed, ours: { snat: false }, theirs: { snat: false } },
  'another bit of the mark': { mappings: mixed, ours: { markBit: 31 }, theirs: { markMasqBit: 31 } },
  conditions: {
    mappings: mixed,
    ours: { conditions: { ip: ['!', '-d', '192.0.2.0/24'], ip6: ['-m', 'mark', '--mark', '0x1/0x1'] } },
    theirs: { conditionsV4: ['!', '-d', '192.0.2.0/24'], conditionsV6: ['-m', 'mark', '--mark', '0x1/0x1'] },
  },
  "a mark chain of somebody else's": {
    mappings: mixed,
    ours: { externalMarkChain: 'KUBE-MARK-MASQ' },
    theirs: { externalSetMarkChain: 'KUBE-MARK-MASQ' },
  },
}

for (const [name, { mappings, ours, theirs }] of Object.entries(variations)) {
  t.test(`the rules are those of the Go plugin, and either side checks and removes the other's: ${name}`, withGo, t =>
    withHost(t, host => {
      for (const program of ['iptables', 'ip6tables']) host.output([program, '-t', 'nat', '-N', 'KUBE-MARK-MASQ'])
      const one = attachment('one')
      const wanted = forwarding(mappings, dual(5), ours)
      const config = { mappings, addresses: dual(5), config: theirs }
      t.equal(goPortmap(host, 'ADD', one, config).status, 0)
      const ofGo = saved(host)
      // Debian's plugin looks for the IPv4 rules in ip6tables too, after it has found them where they are.
      const checked = goPortmap(host, 'CHECK', one, config)
      check(host, one, wanted)
      remove(host, one)
      t.same(ofContainers(saved(host)), [], 'DEL without anything removes what the Go plugin made')

      t.equal(add(host, one, wanted), true)
      t.equal(asGo(saved(host)), ofGo)
      check(host, one, wanted)
      t.same(
        goPortmap(host, 'CHECK', one, config).json,
        checked.json,
        'CHECK of the Go plugin finds what it finds of its own',
      )
      t.notMatch(checked.error?.msg, /ipv4/)
      t.equal(goPortmap(host, 'DEL', one, config).status, 0)
      t.same(ofContainers(saved(host)), [], 'DEL of the Go plugin removes what cnikit made')
    }),
  )
}

t.test('ADD twice changes nothing, and a changed ADD replaces what was there', t =>
  withHost(t, host => {
    const wanted = forwarding(mixed, dual(5), { conditions: { ip: ['-d', '192.0.2.0/24'], ip6: [] } })
    t.equal(add(host, attachment('one'), wanted), true)
    const once = saved(host)
    t.equal(add(host, attachment('one'), wanted), false)
    t.equal(saved(host), once)
    add(host, attachment('one'), forwarding(['8081:80/tcp'], dual(6)))
    t.equal(ofContainers(saved(host)).length, 2 * (2 + 3 + 1) - 0)
    t.notMatch(saved(host), /10\.1\.0\.5|8080/)
    add(host, attachment('one'), wanted)
    t.equal(saved(host), once)
  }),
)

t.test('what another container has left in the way is behind the newest', withGo, t =>
  withHost(t, host => {
    goPortmap(host, 'ADD', attachment('stale'), { mappings: ['8080:80/tcp'], addresses: dual(5) })
    add(host, attachment('new'), forwarding(['8080:80/tcp', '8080:80/udp'], dual(6)))
    const owners = saved(host)
      .split('\n')
      .filter(line => line.startsWith('-A CNI-HOSTPORT-DNAT'))
      .map(line => /id: \\"(\w+)\\"/.exec(line)?.[1])
    t.same(owners, ['new', 'new', 'stale', 'new', 'new', 'stale'])
  }),
)

t.test("a living container's port is refused with its owner's name, but not to who has its namespace now", t =>
  withHost(t, host => {
    const living = host.createContainer()
    const namespace = numberOf(living)
    add(
      host,
      attachment('first', 'eth0', 'othernet'),
      forwarding(['8080:80/tcp', '8081:80/tcp'], dual(5), { namespace }),
    )
    const before = saved(host)
    const second = (mappings: string[], number = 1n) =>
      add(host, attachment('second'), forwarding(mappings, dual(6), { namespace: number }))
    for (const mappings of [['8081:81/tcp'], ['192.0.2.1=8081:81/tcp'], ['7000:7000/tcp', 'fd00::9=8080:80/tcp']]) {
      t.throws(() => second(mappings), {
        code: ErrorCode.conflict,
        message:
          /port 808[01]\/tcp of every address of the host is taken by container "first" \(interface "eth0", network "othernet"\): it leads to/,
      })
      t.equal(saved(host), before, 'and nothing is changed')
    }
    second(['8081:81/udp'])
    remove(host, attachment('second'))
    t.equal(saved(host), before, 'another protocol is another port')

    second(['8081:81/tcp'], namespace)
    t.same(
      ofContainers(saved(host)).filter(line => line.includes('first')),
      [],
      'a namespace has one container',
    )
    check(host, attachment('second'), forwarding(['8081:81/tcp'], dual(6)))
  }),
)

t.test('a port of one host address and the same of another are two ports', t =>
  withHost(t, host => {
    const namespace = numberOf(host.createContainer())
    add(host, attachment('one'), forwarding(['192.0.2.1=80:80/tcp'], dual(5), { namespace }))
    add(host, attachment('two'), forwarding(['192.0.2.2=80:80/tcp'], dual(6), { namespace: 1n }))
    check(host, attachment('one'), forwarding(['192.0.2.1=80:80/tcp'], dual(5)))
    t.throws(() => add(host, attachment('three'), forwarding(['192.0.2.1=80:80/tcp'], dual(7))), {
      code: ErrorCode.conflict,
      message: /port 80\/tcp of 192\.0\.2\.1 of the host is taken by container "one"/,
    })
  }),
)

t.test('two attachments of a container to a network share the chain, and each keeps its own', t =>
  withHost(t, host => {
    const [first, second] = [attachment('one', 'eth0'), attachment('one', 'eth1')]
    const [wanted, more] = [forwarding(['8080:80/tcp'], dual(5)), forwarding(['8081:80/tcp', '8080:80/udp'], dual(6))]
    add(host, first, wanted)
    const single = saved(host)
    add(host, second, more)
    check(host, first, wanted)
    check(host, second, more)
    remove(host, second)
    t.equal(saved(host), single)
    add(host, second, more)
    remove(host, first)
    check(host, second, more)
    t.throws(() => check(host, first, wanted), { code: ErrorCode.checkFailed })
    t.notMatch(saved(host), /10\.1\.0\.5/)
    remove(host, second)
    t.same(ofContainers(saved(host)), [])
  }),
)

t.test('of two networks of a container that publish the same port the first has it, as long as it is there', t =>
  withHost(t, host => {
    const namespace = numberOf(host.createContainer())
    const publish = (network: string, number: number) =>
      add(host, attachment('one', 'eth0', network), forwarding(['8080:80/tcp'], dual(number), { namespace }))
    publish('podnet', 5)
    publish('othernet', 6)
    const entries = () => saved(host).match(/(?<=-A CNI-HOSTPORT-DNAT .*name: ..)\w+/g)
    t.same(entries(), ['podnet', 'othernet', 'podnet', 'othernet'])
    remove(host, attachment('one', 'eth0', 'podnet'))
    t.same(entries(), ['othernet', 'othernet'])
  }),
)

t.test('two networks of a container do not touch each other', t =>
  withHost(t, host => {
    const [one, other] = [attachment('one'), attachment('one', 'eth1', 'othernet')]
    const [wanted, more] = [forwarding(['8080:80/tcp'], dual(5)), forwarding(['8081:80/tcp'], dual(6))]
    add(host, one, wanted)
    add(host, other, more)
    remove(host, one)
    check(host, other, more)
    t.throws(() => check(host, one, wanted), { code: ErrorCode.checkFailed })
  }),
)

t.test('GC removes what is not valid, whoever made it, and leaves other networks alone', withGo, t =>
  withHost(t, host => {
    const port = (number: number) => [`${number}:80/tcp`]
    for (const [index, id] of ['go-dead', 'go-alive'].entries())
      goPortmap(host, 'ADD', attachment(id), { mappings: port(8000 + index), addresses: dual(5 + index) })
    const namespace = numberOf(host.createContainer())
    for (const [index, whose] of [
      attachment('dead'),
      attachment('alive', 'eth0'),
      attachment('alive', 'eth1'),
      attachment('dead', 'eth0', 'othernet'),
    ].entries())
      add(host, whose, forwarding(port(8100 + index), dual(20 + index), { namespace }))
    host.output(['iptables', '-t', 'nat', '-A', 'CNI-HOSTPORT-DNAT', '-p', 'tcp', '--dport', '1', '-j', 'RETURN'])
    gc(host, 'podnet', [attachment('go-alive'), attachment('alive', 'eth0')])
    const left = [...saved(host).matchAll(/--to-destination 10\.1\.0\.(\d+)/g)].map(match => Number(match[1]))
    t.same(
      left.sort((a, b) => a - b),
      [6, 21, 23],
    )
    t.match(saved(host), /--dport 1 -j RETURN/, 'rules of others stay')
    const before = saved(host)
    gc(host, 'podnet', [attachment('go-alive'), attachment('alive', 'eth0')])
    t.equal(saved(host), before)
  }),
)

t.test('CHECK names the rule that is missing', t =>
  withHost(t, host => {
    const wanted = forwarding(['8080:80/tcp'], ['10.1.0.5/16'])
    const broken = (message: RegExp, ...rule: string[]) => {
      add(host, attachment('one'), wanted)
      check(host, attachment('one'), wanted)
      host.output(['iptables', '-t', 'nat', ...rule])
      t.throws(() => check(host, attachment('one'), wanted), { code: ErrorCode.checkFailed, message })
    }
    broken(/iptables has no rule "PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"/, '-F', 'PREROUTING')
    broken(/has no rule "OUTPUT /, '-F', 'OUTPUT')
    broken(/has no rule "POSTROUTING /, '-F', 'POSTROUTING')
    broken(/has no rule "CNI-HOSTPORT-SETMARK /, '-F', 'CNI-HOSTPORT-SETMARK')
    broken(/has no rule "CNI-HOSTPORT-MASQ /, '-F', 'CNI-HOSTPORT-MASQ')
    broken(/has no rule "CNI-HOSTPORT-DNAT -p tcp .*--dports 8080 -j CNI-DN-/, '-F', 'CNI-HOSTPORT-DNAT')
    add(host, attachment('one'), wanted)
    const chain = /:(CNI-DN-\S+)/.exec(saved(host))?.[1] ?? ''
    broken(
      /has no rule "CNI-DN-\S+ -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10\.1\.0\.5:80"/,
      '-D',
      chain,
      '4',
    )
    broken(/has no rule "CNI-DN-\S+ -s 10\.1\.0\.0\/16 .*-j CNI-HOSTPORT-SETMARK"/, '-D', chain, '2')
    t.throws(() => check(host, attachment('one'), forwarding(['8080:81/tcp'], ['10.1.0.5/16'])), {
      code: ErrorCode.checkFailed,
    })
  }),
)

t.test('without the guard of 127.0.0.1 CHECK fails and ADD makes it again; who has no localhost needs none', t =>
  withHost(t, host => {
    const wanted = forwarding(['8080:80/tcp'], dual(5))
    const raw = () => host.output(['iptables-save', '-t', 'raw']).match(/^-A .*$/gm) ?? []
    const guard = ['-A PREROUTING -j CNIKIT-LOOPBACK-GUARD', '-A CNIKIT-LOOPBACK-GUARD -d 127.0.0.0/8 ! -i lo -j DROP']
    add(host, attachment('zero'), forwarding(['8079:80/tcp'], dual(4), { snat: false }))
    t.same(raw(), [])
    for (const flush of [['-F'], ['-F', 'PREROUTING'], ['-F', 'CNIKIT-LOOPBACK-GUARD'], ['-F']]) {
      add(host, attachment('one'), wanted)
      check(host, attachment('one'), wanted)
      t.same(raw(), guard)
      host.output(['iptables', '-t', 'raw', ...flush])
      t.throws(() => check(host, attachment('one'), wanted), { code: ErrorCode.checkFailed, message: /127\.0\.0\.1/ })
      check(host, attachment('zero'), forwarding(['8079:80/tcp'], dual(4), { snat: false }))
    }
  }),
)

t.test('ADD repairs what a reload has taken', t =>
  withHost(t, host => {
    const wanted = forwarding(mixed, dual(5))
    add(host, attachment('one'), wanted)
    const once = saved(host)
    host.output(['iptables', '-t', 'nat', '-F', 'PREROUTING'])
    host.output(['ip6tables', '-t', 'nat', '-F', 'CNI-HOSTPORT-DNAT'])
    t.equal(add(host, attachment('one'), wanted), true)
    t.equal(saved(host), once)
  }),
)

t.test('where no chain is, DEL and GC run no program', t =>
  withHost(t, host => {
    remove(host, attachment('one'))
    gc(host, 'podnet', [])
    t.equal(host.output(['nft', 'list', 'tables']), '', 'iptables-save would have left a table')
    add(host, attachment('one'), forwarding(mixed, dual(5)))
    remove(host, attachment('two'))
    t.doesNotThrow(() => check(host, attachment('one'), forwarding(mixed, dual(5))))
  }),
)

t.test('a family that cannot be served leaves nothing of the other', t =>
  withHost(t, host => {
    const wanted = forwarding(['8080:80/tcp'], dual(5), { conditions: { ip: [], ip6: ['-m', 'no-such-match'] } })
    t.throws(() => add(host, attachment('one'), wanted), { code: ErrorCode.hostProgramFailed })
    t.same(ofContainers(saved(host)), [])
    const split = { code: ErrorCode.invalidNetworkConfig, message: /cannot be part of an iptables rule/ }
    for (const keys of [{ conditions: { ip: ['-m\nCOMMIT'], ip6: [] } }, { externalMarkChain: 'A\n-F' }])
      t.throws(() => add(host, attachment('one'), forwarding(['8080:80/tcp'], dual(5), keys)), split)
    const absent = forwarding(['8080:80/tcp'], dual(5), { externalMarkChain: 'NOT-THERE' })
    t.throws(() => add(host, attachment('one'), absent), { code: ErrorCode.hostProgramFailed })
    t.same(ofContainers(saved(host)), [])
  }),
)

t.test('STATUS is fine where the programs are, and changes nothing', t =>
  withHost(t, host => {
    t.doesNotThrow(() => status(host, { PATH: programPath }))
    t.equal(host.output(['nft', 'list', 'ruleset']), '')
  }),
)
