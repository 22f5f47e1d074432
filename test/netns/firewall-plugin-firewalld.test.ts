/** The firewall plugin beside a real firewalld, which runs in the test's host with a bus of its own. */

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createOutside, type Host, outsideAddresses, programPath, until, withHost } from '../harness/index.ts'
import { bridgeNetwork, firewallOf, guard, reaches, unguard } from './firewall-plugin-fixture.ts'

const zoneInterface = [
  'org.fedoraproject.FirewallD1',
  '/org/fedoraproject/FirewallD1',
  'org.fedoraproject.FirewallD1.zone',
]

/** firewalld in the test's host. */
class Firewalld {
  readonly environment: Readonly<Record<string, string>>
  readonly #host: Host

  private constructor(host: Host, address: string) {
    this.#host = host
    this.environment = { DBUS_SYSTEM_BUS_ADDRESS: address, PATH: programPath }
  }

  static async start(host: Host): Promise<Firewalld> {
    const socket = join(host.directory, 'bus')
    const configuration = join(host.directory, 'bus.conf')
    writeFileSync(
      configuration,
      `<busconfig><listen>unix:path=${socket}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`,
    )
    host.start(['dbus-daemon', `--config-file=${configuration}`, '--nofork', '--nopidfile'])
    await until('the bus listens', () => existsSync(socket))
    const firewalld = new Firewalld(host, `unix:path=${socket}`)
    firewalld.run()
    await until('firewalld answers', () => firewalld.sources('trusted').length === 0)
    await until('firewalld filters', () => host.output(['nft', 'list', 'ruleset']).includes('chain filter_FORWARD {'))
    return firewalld
  }

  /** It has its own view of the directories that it writes to. */
  run(): void {
    const own = ['/etc/firewalld', '/var/log'].map(directory => `mount -t tmpfs none ${directory}`).join(' && ')
    const script = `${own} && exec firewalld --nofork --nopid`
    this.#host.start(['unshare', '--mount', 'sh', '-c', script], { environment: this.environment })
  }

  sources(zone: string): string[] {
    const answer = this.call('getSources', 's', zone)
    return [...answer.matchAll(/"([^"]+)"/g)].map(([, source = '']) => source)
  }

  call(method: string, ...words: string[]): string {
    const command = ['busctl', '--system', 'call', ...zoneInterface, method, ...words]
    return this.#host.output(command, { environment: this.environment })
  }

  /** Ends it as its unit does: its rules go with it. */
  async stop(): Promise<void> {
    const pid = this.#host.output(['busctl', '--system', 'status', 'org.fedoraproject.FirewallD1'], {
      environment: this.environment,
    })
    process.kill(Number(/^PID=(\d+)$/m.exec(pid)?.[1]), 'SIGTERM')
    await until('its table is gone', () => !this.#host.output(['nft', 'list', 'tables']).includes('firewalld'))
  }
}

t.test('where firewalld runs, containers become sources of its zone, and owners are kept beside', t =>
  withHost(t, async host => {
    createOutside(host)
    const firewalld = await Firewalld.start(host)
    const options = { environment: firewalld.environment }
    const network = bridgeNetwork(host, 1, { ipMasq: true })
    const bare = network.attach()
    await until('the bridge works', () => bare.container.pings('10.88.1.1'))
    t.notOk(bare.container.pings(outsideAddresses.outside.ipv4), 'firewalld rejects what is forwarded')
    const one = guard(network, {}, options)
    t.same(firewalld.sources('trusted'), ['10.88.1.3/32', 'fd00:88:1::3/128'])
    await until('the container reaches the outside', () => one.container.pings(outsideAddresses.outside.ipv4))
    t.ok(one.container.pings(outsideAddresses.outside.ipv6), 'in both families')
    one.firewall.add()
    t.equal(one.firewall.check().stdout, '')
    firewalld.call('removeSource', 'ss', 'trusted', '10.88.1.3/32')
    t.match(one.firewall.check().error, { code: 105, msg: /^10.88.1.3\/32 is not in zone "trusted" of firewalld$/ })
    firewalld.call('addSource', 'ss', 'public', '10.88.1.3/32')
    t.match(one.firewall.tryAdd().error, { code: 104, msg: /^10.88.1.3\/32 is in another zone of firewalld than/ })
    t.same(firewalld.sources('trusted'), ['fd00:88:1::3/128'], 'a failing repetition leaves what was there')
    firewalld.call('removeSource', 'ss', 'public', '10.88.1.3/32')
    one.firewall.add()

    const late = one.firewall.request('DEL')
    one.firewall.network.mustRun({ ...late, containerId: 'another' })
    t.equal(firewalld.sources('trusted').length, 2, "another's DEL with the same addresses takes nothing away")
    one.firewall.del({ withoutResult: true, netns: '' })
    t.same(firewalld.sources('trusted'), [], 'DEL knows the addresses without a result')
    one.firewall.add()
    const gc = { ...one.firewall.network.config, 'cni.dev/valid-attachments': [] }
    t.equal(one.firewall.network.run({ command: 'GC', config: gc }).error?.code, 108, 'GC that does not reach the bus')
    one.firewall.network.mustRun({ command: 'GC', config: gc, ...options })
    t.same(firewalld.sources('trusted'), [], 'has not forgotten the addresses')
    unguard(one)
  }),
)

t.test('other zones, policies, and a firewalld that is stopped', t =>
  withHost(t, async host => {
    const firewalld = await Firewalld.start(host)
    const options = { environment: firewalld.environment }
    const keys = { backend: 'firewalld', ingressPolicy: 'same-bridge' }
    const [one, two] = [guard(bridgeNetwork(host, 1), keys, options), guard(bridgeNetwork(host, 2), keys, options)]
    const beside = guard(one.bridge.network, keys, options)
    await until('behind the same bridge', () => reaches(one, beside))
    t.notOk(reaches(one, two), 'the policy is in force')
    const named = firewallOf(two.bridge, { backend: 'firewalld', firewalldZone: 'nowhere' }, options)
    t.match(named.tryAdd().error, { code: 7, msg: /^firewalld has no zone "nowhere"$/ })
    t.equal(two.firewall.check().stdout, '')
    const status = (config: object) =>
      firewallOf(one.bridge, config, options).network.run({
        command: 'STATUS',
        config: one.firewall.network.with(config).config,
        ...options,
      })
    t.equal(status({ backend: 'firewalld' }).status, 0)
    t.match(status({ backend: 'nftables' }).error, { code: 50, msg: /but firewalld rejects what is forwarded/ })
    const byName = firewallOf(two.bridge, { backend: 'nftables' }, options).tryAdd()
    t.match(byName.error, {
      code: 104,
      msg: /^"backend" is "nftables", but firewalld rejects/,
      details: /Remove "backend"/,
    })

    await firewalld.stop()
    t.match(status({ backend: 'firewalld' }).error, { code: 50, msg: /FirewallD1/ })
    t.match(one.firewall.check().error, { code: 108, msg: /FirewallD1/ })
    for (const guarded of [one, two, beside]) unguard(guarded)
    one.firewall.network.gc([])
    two.firewall.network.gc([])
    t.notMatch(host.output(['nft', 'list', 'ruleset']), /cnikit-firewall/, 'DEL and GC work without it')
    const later = guard(bridgeNetwork(host, 1), {}, options)
    t.equal(later.firewall.check().stdout, '', 'and without "backend" nftables takes its place')
  }),
)
