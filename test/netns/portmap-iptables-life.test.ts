/** The iptables back ends of portmap and firewall when things go wrong, or at once, or with the old iptables. */

import t from 'tap'
import { type Attachment, answerOf, type Host, Network, withHost } from '../harness/index.ts'
import { PublishingHost } from './portmap-fixture.ts'
import { add, attachment, dual, forwarding, gc, ofContainers, remove, saved } from './portmap-iptables-fixture.ts'

const port = (number: number) => [{ hostPort: 8000 + number, containerPort: 80 }]
const iptables = { backend: 'iptables' }

t.test('ADDs that begin together on a host without any chain all succeed, and so do their DELs', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, iptables)
    const bridges = Array.from({ length: 6 }, () => hosts.network.attach())
    const ports = bridges.map((bridge, index) => hosts.publishing(bridge, port(index)))
    const firewall = hosts.ports.with({ type: 'firewall', ingressPolicy: 'same-bridge' })
    const walls = bridges.map(bridge => hosts.publishing(bridge, [], firewall))
    await Promise.all([...ports, ...walls].map(one => one.addBeside()))
    t.same(
      [...ports, ...walls].map(one => one.check().error),
      Array.from({ length: 12 }, () => undefined),
    )
    const jumps = /-j CNI-(FORWARD|HOSTPORT-DNAT|HOSTPORT-MASQ|ISOLATION-STAGE-1)$/gm
    t.equal(`${saved(host)}${saved(host, 'filter')}`.match(jumps)?.length, 2 * 5, 'what all share is there once')
    t.same(await hosts.ports.detachAtOnce(ports), [])
    t.same(await firewall.detachAtOnce(walls), [])
    t.same(ofContainers(saved(host)), [])
    t.notMatch(saved(host, 'filter'), /-A CNI-FORWARD -[sd]/)
  }),
)

/** ADD is made to fail in every step. @returns how many there were */
function failSteps(host: Host, one: Attachment, state: () => string[], failed: (step: number, left: string[]) => void) {
  for (let step = 1; ; step++) {
    const environment = { CNIKIT_FAIL_STEP: String(step) }
    const { error } = one.network.run({ ...one.request('ADD'), environment })
    if (error === undefined) return step - 1
    failed(step, [
      ...state(),
      ...host
        .output(['iptables-save'])
        .split('\n')
        .filter(line => line.includes('10.88.')),
    ])
  }
}

t.test('an ADD that fails in any step leaves nothing of the container', t =>
  withHost(t, host => {
    const hosts = new PublishingHost(host, iptables)
    const bridge = hosts.network.attach()
    const firewall = new Network(host, { type: 'firewall', ...iptables, ipam: undefined, bridge: undefined })
    for (const one of [hosts.publishing(bridge, port(1)), hosts.publishing(bridge, [], firewall)]) {
      const steps = failSteps(
        host,
        one,
        () => ofContainers(saved(host)),
        (step, left) => t.same(left, [], `step ${step} of ${String(one.network.config.type)}`),
      )
      t.ok(steps > 0)
      one.add()
      t.equal(one.check().error, undefined, 'repeated, it is as it should be')
      one.del()
    }
  }),
)

t.test('what an ADD that was killed has left, DEL removes', t =>
  withHost(t, async host => {
    const hosts = new PublishingHost(host, iptables)
    const bridge = hosts.network.attach()
    for (let run = 0; run < 8; run++) {
      const one = hosts.publishing(bridge, port(run))
      const child = hosts.ports.start(one.request('ADD'))
      await new Promise(resolve => setTimeout(resolve, run * 3))
      child.signal('SIGKILL')
      await child.ended
      one.del({ withoutResult: true })
      t.same(ofContainers(saved(host)), [], `killed after ${run * 3} ms`)
    }
    const again = hosts.publishing(bridge, port(1))
    t.equal(answerOf(await hosts.ports.start(again.request('ADD')).ended).error, undefined)
  }),
)

t.test('the old iptables: rules made with it are removed by DEL and GC', t =>
  withHost(t, host => {
    const works = ['iptables-legacy', 'ip6tables-legacy'].every(
      program => host.execute([program, '-t', 'nat', '-L', '-n']).status === 0,
    )
    if (!works) {
      t.test('legacy', { skip: 'NOT TESTED: no iptables-legacy, or no nat table for it in the kernel' }, () => {})
      return
    }
    add(host, attachment('one', 'eth0'), forwarding(['8080:80/tcp'], dual(5)))
    add(host, attachment('one', 'eth1'), forwarding(['8081:80/udp'], dual(6)))
    add(host, attachment('two'), forwarding(['8082:80/tcp'], dual(7)))
    const [four, six] = ['iptables', 'ip6tables'].map(program => host.output([`${program}-save`, '-t', 'nat']))
    host.output(['nft', 'flush', 'ruleset'])
    host.output(['iptables-legacy-restore'], { input: four ?? '' })
    host.output(['ip6tables-legacy-restore'], { input: six ?? '' })
    const legacy = () => saved(host, 'nat', '-legacy')
    const before = legacy()
    remove(host, attachment('one', 'eth1'))
    t.notMatch(legacy(), /10\.1\.0\.6|fd00:1::6|8081/)
    t.match(legacy(), /--dport 8080 .*10\.1\.0\.5:80/, 'the chain stays for the other attachment')
    remove(host, attachment('one', 'eth0'))
    gc(host, 'podnet', [])
    t.same(ofContainers(legacy()), [])
    t.match(before, /10\.1\.0\.6/)
  }),
)

t.test('where iptables is not installed but has a table, of kube-proxy for example, DEL and GC succeed', t =>
  withHost(t, host => {
    const works = host.execute(['iptables-legacy', '-t', 'nat', '-L', '-n']).status === 0
    if (!works) {
      t.test('legacy', { skip: 'NOT TESTED: no iptables-legacy, or no nat table for it in the kernel' }, () => {})
      return
    }
    const hosts = new PublishingHost(host)
    const one = hosts.publish(port(1))
    const hidden = ['legacy', 'nft'].map(kind => `mount --bind /dev/null /usr/sbin/xtables-${kind}-multi`).join(' && ')
    const through = ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', `${hidden} && exec "$0"`]
    for (const [command, keys] of [
      ['DEL', {}],
      ['GC', { 'cni.dev/valid-attachments': [] }],
    ] as const)
      t.equal(hosts.ports.run({ ...one.ports.request(command, keys), through }).error, undefined, command)
    const refused = hosts.ports.with(iptables).run({ ...one.ports.request('ADD', iptables), through })
    t.equal(refused.error?.code, 108, 'which ADD with iptables does not')
  }),
)
