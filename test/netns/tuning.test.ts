/** tuning behind the bridge: what it sets, what the result says of it, and what DEL leaves. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { differences, snapshot, withHost } from '../harness/index.ts'
import { backups, behind, bridged, settingsOf, sysctlOf, tuningDirectory, tuningNetwork } from './tuning-fixture.ts'

const mac = '02:00:00:00:77:01'
const everything = { mac, mtu: 1400, promisc: true, allmulti: true, txQLen: 500 }

t.test('all settings of the interface are made, told in the result, found by CHECK, and undone by DEL', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const before = [snapshot(host), snapshot(main.container), settingsOf(main)] as const
    const tuned = behind(main, tuningNetwork(host, everything))
    tuned.add()
    t.same(settingsOf(main), {
      mac,
      mtu: 1400,
      promiscuous: true,
      allMulticast: true,
      txQueueLength: 500,
      hostMtu: 1400,
    })
    const changed: Readonly<Record<string, object>> = { eth0: { mac, mtu: 1400 }, [main.port]: { mtu: 1400 } }
    t.same(
      tuned.result.interfaces,
      main.result.interfaces?.map(one => ({ ...one, ...changed[one.name] })),
    )
    t.same(tuned.result.ips, main.result.ips, 'the rest of the result is as before')
    t.same(tuned.result.routes, main.result.routes)
    t.equal(tuned.check().stdout, '')
    t.ok(host.pings(main.address), 'the container can be reached under its new address')
    tuned.del()
    t.same(settingsOf(main), before[2])
    t.same(differences(before[0], snapshot(host)), [], 'the host is as before')
    t.same(differences(before[1], snapshot(main.container)), [], 'and so is the container')
    main.del()
  }),
)

t.test('without keys nothing is touched, and the result is that of the plugin before', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const before = [snapshot(host), snapshot(main.container)] as const
    const tuned = behind(main, tuningNetwork(host))
    tuned.add()
    t.same(tuned.result, main.result)
    t.equal(tuned.check().stdout, '')
    t.same(differences(before[0], snapshot(host)), [])
    t.same(differences(before[1], snapshot(main.container)), [])
    t.same(backups(host), [])
    tuned.del()
  }),
)

t.test('jumbo frames pass between host and container, which they do not when one end alone is changed', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    main.container.ip('link set eth0 mtu 9000')
    t.notOk(main.container.pingsUnfragmented('10.88.0.1', 9000), 'the container’s end alone')
    main.container.ip('link set eth0 mtu 1500')
    const tuned = behind(main, tuningNetwork(host, { mtu: 9000 }))
    tuned.add()
    t.ok(main.container.pingsUnfragmented('10.88.0.1', 9000), 'both ends')
    t.ok(main.container.pingsUnfragmented('fd00:88::1', 9000), 'both ends, IPv6')
    tuned.del()
  }),
)

t.test('an MTU below what IPv6 needs does not take the bridge’s IPv6 address away', t =>
  withHost(t, host => {
    const other = bridged(host).attach()
    const main = bridged(host).attach()
    const config = { prevResult: { ...main.result, ips: main.result.ips?.slice(0, 1) } }
    behind(main, tuningNetwork(host, { mtu: 1000 }), { config }).add()
    t.match(settingsOf(main), { mtu: 1000, hostMtu: 1280 })
    t.match(host.addresses('br0'), ['10.88.0.1/24', 'fd00:88::1/64'])
    t.ok(other.container.pings('fd00:88::1'), 'another container of the network still has its gateway')
  }),
)

t.test('sysctls are set in the container alone, in either notation, and with IFNAME in them', t =>
  withHost(t, host => {
    const main = bridged(host).attach({ ifname: 'pod.0' })
    const sysctls: readonly (readonly [key: string, value: string, name: string])[] = [
      ['net.core.somaxconn', '517', 'net/core/somaxconn'],
      ['net/ipv4/ip_default_ttl', '77', 'net/ipv4/ip_default_ttl'],
      ['net.ipv4.conf.IFNAME.arp_filter', '1', 'net/ipv4/conf/pod.0/arp_filter'],
      ['net/ipv4/conf/IFNAME/arp_ignore', '2', 'net/ipv4/conf/pod.0/arp_ignore'],
      ['net.ipv4.conf.pod/0.arp_announce', '1', 'net/ipv4/conf/pod.0/arp_announce'],
      ['net/ipv6/conf/pod.0/accept_ra', '0', 'net/ipv6/conf/pod.0/accept_ra'],
      ['net.ipv4/ip_unprivileged_port_start', '80', 'net/ipv4/ip_unprivileged_port_start'],
      ['net.ipv4.ip_local_port_range', '20000 30000', 'net/ipv4/ip_local_port_range'],
    ]
    const before = snapshot(host)
    const sysctl = Object.fromEntries(sysctls.map(([key, value]) => [key, value]))
    const tuned = behind(main, tuningNetwork(host, { sysctl }))
    tuned.add()
    for (const [key, value, name] of sysctls)
      t.equal(sysctlOf(main, name).replace('\t', ' '), value, `${key} is ${value}`)
    t.equal(tuned.check().stdout, '')
    t.same(differences(before, snapshot(host)), [], 'the host is as before')
    t.same(backups(host), [], 'sysctls end with the namespace: there is nothing to restore')
    tuned.del()
  }),
)

t.test('an empty value clears a list, and CHECK takes a list for the same in any order', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const name = 'net.ipv4.ip_local_reserved_ports'
    const tuned = behind(main, tuningNetwork(host, { sysctl: { [name]: '9003,9001,9002,8000-8010' } }))
    tuned.add()
    t.equal(sysctlOf(main, 'net/ipv4/ip_local_reserved_ports'), '8000-8010,9001-9003')
    t.equal(tuned.check().stdout, '')
    const cleared = behind(main, tuningNetwork(host, { sysctl: { [name]: '' } }))
    cleared.add()
    t.equal(sysctlOf(main, 'net/ipv4/ip_local_reserved_ports'), '')
    t.equal(cleared.check().stdout, '')
    t.equal(tuned.check().error?.code, 105)
  }),
)

t.test('a sysctl that can only be written, or has had no value, is set', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const secret = 'net.ipv6.conf.IFNAME.stable_secret'
    const tuned = behind(
      main,
      tuningNetwork(host, { sysctl: { 'net.ipv4.route.flush': '1', [secret]: '2001:db8::1' } }),
    )
    tuned.add()
    t.equal(sysctlOf(main, 'net/ipv6/conf/eth0/stable_secret'), '2001:0db8:0000:0000:0000:0000:0000:0001')
    t.equal(tuned.check().stdout, '')
  }),
)

t.test('args come before runtimeConfig, that before CNI_ARGS, and those before the configuration', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const sources = ['02:00:00:00:00:0a', '02:00:00:00:00:0b', '02:00:00:00:00:0c', '02:00:00:00:00:0d']
    const [inArgs, byRuntime, inVariable, configured] = sources
    const network = tuningNetwork(host, {
      mac: configured,
      mtu: 1300,
      promisc: true,
      allmulti: false,
      txQLen: 10,
      sysctl: { 'net.core.somaxconn': '300', 'net.ipv4.ip_default_ttl': '70' },
    })
    const add = (config: object, args?: string) => {
      const tuned = behind(main, network, args === undefined ? { config } : { config, args })
      tuned.add()
      const settings = settingsOf(main)
      tuned.del()
      return settings
    }
    const runtimeConfig = { mac: byRuntime }
    t.match(add({}), { mac: configured, mtu: 1300, promiscuous: true, allMulticast: false, txQueueLength: 10 })
    t.equal(add({}, `MAC=${inVariable}`).mac, inVariable)
    t.equal(add({ runtimeConfig }, `MAC=${inVariable}`).mac, byRuntime)
    const sysctl = { 'net/core/somaxconn': '301', 'net.ipv4.tcp_fin_timeout': '30' }
    const cni = { mac: inArgs, mtu: 1350, promisc: false, allmulti: true, txQLen: 0, sysctl }
    t.match(add({ runtimeConfig, args: { cni } }, `MAC=${inVariable}`), {
      mac: inArgs,
      mtu: 1350,
      promiscuous: false,
      allMulticast: true,
      txQueueLength: 0,
    })
    t.equal(sysctlOf(main, 'net/core/somaxconn'), '301', 'also in the other notation')
    t.equal(sysctlOf(main, 'net/ipv4/ip_default_ttl'), '70')
    t.equal(sysctlOf(main, 'net/ipv4/tcp_fin_timeout'), '30')
    const own = settingsOf(main)
    t.match(add({ runtimeConfig, args: { cni: { mac: '', mtu: 0 } } }), { mac: own.mac, mtu: own.mtu })
  }),
)

t.test('tuning twice in a chain, or ADD again: DEL restores what was before the first', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const before = settingsOf(main)
    const first = behind(main, tuningNetwork(host, { mac, mtu: 1400 }))
    first.add()
    const second = behind(main, tuningNetwork(host, { mtu: 1300, txQLen: 5 }))
    second.add()
    first.add()
    t.match(settingsOf(main), { mac, mtu: 1400, txQueueLength: 5 })
    second.del()
    t.same(settingsOf(main), before)
    first.del()
    t.same(settingsOf(main), before)
    t.same(backups(host), [])
  }),
)

t.test('the backup has the Go plugin’s form, and says whose it is', t =>
  withHost(t, host => {
    const main = bridged(host).attach({ containerId: 'pod-1' })
    const before = settingsOf(main)
    const tuned = behind(main, tuningNetwork(host, everything))
    tuned.add()
    t.same(backups(host), ['pod-1_eth0.json'])
    const text = readFileSync(join(tuningDirectory(host), 'pod-1_eth0.json'), 'utf8')
    t.match(JSON.parse(text), {
      mac: before.mac,
      promisc: false,
      mtu: before.mtu,
      allmulti: false,
      txQLen: before.txQueueLength,
      network: 'podnet',
      hostMtu: before.hostMtu,
    })
    t.match(text, /^\{\n "mac": "/, 'indented by one, as Go does it')
    tuned.del()
  }),
)
