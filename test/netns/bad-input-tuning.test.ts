/** What tuning refuses before it changes anything. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Answer, type Attachment, differences, type Host, snapshot, withHost } from '../harness/index.ts'
import { createLan, macvlanNetwork } from './macvlan-fixture.ts'
import { behind, bridged, tuningNetwork } from './tuning-fixture.ts'

interface Refusal {
  readonly what: string
  readonly keys: object
  readonly args?: string
  readonly code?: number
  readonly says: RegExp
}

const refusals: readonly Refusal[] = [
  {
    what: 'a sysctl of the kernel',
    keys: sysctl('kernel.hostname'),
    says: /invalid net sysctl key: "kernel.hostname"/,
  },
  { what: 'a way out of net/', keys: sysctl('net/../kernel/hostname'), says: /invalid net sysctl key/ },
  { what: 'a way out in the other notation', keys: sysctl('net.//.kernel.hostname'), says: /invalid net sysctl key/ },
  { what: 'a directory', keys: sysctl('net.ipv4.conf'), says: /sysctl "net.ipv4.conf" does not exist/ },
  {
    what: 'a sysctl that is not there',
    keys: sysctl('net.ipv4.nosuch'),
    says: /sysctl "net.ipv4.nosuch" does not exist in the container: there is no file \/proc\/sys\/net\/ipv4\/nosuch/,
  },
  {
    what: 'another interface’s sysctl',
    keys: sysctl('net.ipv4.conf.eth7.arp_filter'),
    says: /"net.ipv4.conf.eth7.arp_filter" does not exist/,
  },
  {
    what: 'a sysctl that can only be read',
    keys: sysctl('net.ipv4.tcp_available_congestion_control'),
    says: /can only be read/,
  },
  { what: 'a number for a text', keys: { sysctl: { 'net.core.somaxconn': 500 } }, says: /must be a string/ },
  { what: 'a value of two lines', keys: sysctl('net.core.somaxconn', '1\n2'), says: /has a control character/ },
  { what: 'a list of sysctls', keys: { sysctl: ['net.core.somaxconn=1'] }, says: /"sysctl" is .* must be an object/ },
  {
    what: 'one sysctl in two notations',
    keys: { sysctl: { 'net.core.somaxconn': '1', 'net/core/somaxconn': '2' } },
    says: /"sysctl" has net\/core\/somaxconn twice/,
  },
  { what: 'a MAC address of five bytes', keys: { mac: '02:00:00:00:01' }, says: /mac "02:00:00:00:01" is not a MAC/ },
  {
    what: 'a group’s MAC address',
    keys: { mac: '01:00:5e:00:00:01' },
    says: /mac .* cannot be an interface's address/,
  },
  {
    what: 'a wrong MAC address by the runtime',
    keys: { runtimeConfig: { mac: 'x' } },
    says: /runtimeConfig.mac "x" is not a MAC address/,
  },
  { what: 'a wrong MAC address in args', keys: { args: { cni: { mac: 'x' } } }, says: /args.cni.mac "x" is not a MAC/ },
  { what: 'a wrong MAC address in CNI_ARGS', keys: {}, args: 'MAC=x', code: 4, says: /MAC in CNI_ARGS "x" is not/ },
  { what: 'an unknown key in CNI_ARGS', keys: {}, args: 'MTU=1400', code: 4, says: /unknown args \["MTU=1400"\]/ },
  { what: 'a negative MTU', keys: { mtu: -1 }, says: /"mtu" is -1, but must be an integer from 0 to/ },
  { what: 'an MTU below the link’s', keys: { mtu: 67 }, says: /"mtu" is 67, but "eth0" takes 68 to 65535/ },
  { what: 'an MTU above the link’s', keys: { mtu: 65536 }, says: /"mtu" is 65536, but "eth0" takes 68 to 65535/ },
  { what: 'an MTU that IPv6 cannot have', keys: { mtu: 1279 }, says: /"mtu" is 1279, but IPv6 needs 1280/ },
  { what: 'half a byte', keys: { mtu: 1400.5 }, says: /"mtu" is 1400.5/ },
  { what: 'a text for an MTU', keys: { mtu: '1400' }, says: /"mtu" is "1400"/ },
  { what: 'an MTU in args', keys: { args: { cni: { mtu: 66000 } } }, says: /"mtu" is 66000/ },
  { what: 'a number for promiscuous mode', keys: { promisc: 1 }, says: /"promisc" is 1, but must be true or false/ },
  { what: 'a text for all-multicast mode', keys: { allmulti: 'on' }, says: /"allmulti" is "on"/ },
  { what: 'a negative queue length', keys: { txQLen: -1 }, says: /"txQLen" is -1/ },
  { what: 'a relative directory', keys: { dataDir: 'run' }, says: /"dataDir" is "run"/ },
  { what: 'no result before it', keys: { mtu: 1400, prevResult: undefined }, says: /Required prevResult missing/ },
  {
    what: 'a result of another version',
    keys: { mtu: 1400, prevResult: { cniVersion: '0.2.0', ip4: { ip: '10.0.0.1/24' } } },
    says: /prevResult/,
  },
]

function sysctl(key: string, value = '1'): object {
  return { sysctl: { [key]: value } }
}

t.test('wrong configurations are refused, and nothing is changed', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const before = [snapshot(host), snapshot(main.container)] as const
    for (const refusal of refusals) {
      // With good settings beside the wrong one, which must not be made either.
      const network = tuningNetwork(host, { txQLen: 7 })
      const options = { config: refusal.keys, ...(refusal.args === undefined ? {} : { args: refusal.args }) }
      const answer = behind(main, network, options).tryAdd()
      t.match(answer.error, { code: refusal.code ?? 7, msg: refusal.says }, `refused: ${refusal.what}`)
      t.same(differences(before[0], snapshot(host)), [], `${refusal.what}: the host`)
      t.same(differences(before[1], snapshot(main.container)), [], `${refusal.what}: the container`)
    }
  }),
)

t.test('a sysctl that is configured twice is refused', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const request = behind(main, tuningNetwork(host, { sysctl: { 'net.a': '1' } })).request('ADD')
    const config = JSON.stringify(request.config).replace('"net.a":"1"', '"net.a":"1","net.a":"1"')
    const { error } = tuningNetwork(host).run({ ...request, config })
    t.match(error, { code: 7, msg: 'duplicated sysctl keys are not allowed: "net.a"' })
  }),
)

t.test('an interface that is not there is refused, unless only sysctls are to be set', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    main.container.ip('link del eth0')
    t.match(behind(main, tuningNetwork(host, { mtu: 1400 })).tryAdd().error, {
      code: 7,
      msg: /there is no interface "eth0" in the namespace/,
    })
    t.equal(behind(main, tuningNetwork(host, sysctl('net.core.somaxconn', '7'))).tryAdd().status, 0)
  }),
)

t.test('an MTU above the master’s is refused', t =>
  withHost(t, async host => {
    await createLan(host)
    const main = macvlanNetwork(host).attach()
    t.match(behind(main, tuningNetwork(host, { mtu: 1501 })).tryAdd().error, {
      code: 7,
      msg: '"mtu" is 1501, but master "uplink" of "eth0" has 1500',
    })
    const tuned = behind(main, tuningNetwork(host, { mtu: 1400 }))
    tuned.add()
    t.equal(host.show('link', 'show', 'dev', 'uplink')[0]?.mtu, 1500, 'a master is no other end')
    t.equal(tuned.check().stdout, '')
    tuned.del()
    t.equal(main.container.show('link', 'show', 'dev', 'eth0')[0]?.mtu, 1500)
  }),
)

/** ADD as on a machine with this list of allowed sysctls. */
function addWithAllowList(host: Host, main: Attachment, list: string, keys: object): Answer {
  const path = join(host.directory, 'allowlist.conf')
  writeFileSync(path, list)
  const script = `set -e
/usr/bin/mount -t tmpfs none /etc
/usr/bin/mkdir -p /etc/cni/tuning
/usr/bin/cp ${path} /etc/cni/tuning/allowlist.conf
exec "$0" "$@"`
  const through = ['/usr/bin/unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', script]
  const network = tuningNetwork(host, keys)
  return network.run({ ...behind(main, network).request('ADD'), through })
}

t.test('the operator’s list says which sysctls may be set', t =>
  withHost(t, host => {
    const main = bridged(host).attach()
    const list = '^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n\n  ^net.core.[[:alpha:]]+\\z  \n'
    const allowed = { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net.core.somaxconn': '600' }
    t.equal(addWithAllowList(host, main, list, { sysctl: allowed }).status, 0)
    const before = snapshot(main.container)
    const forbidden: readonly object[] = [
      { sysctl: { ...allowed, 'net.ipv4.ip_forward': '1' } },
      { sysctl: { 'net/ipv4/conf/IFNAME/arp_filter': '1' } },
      { sysctl: { 'net.core.rmem_max': '600' } },
      { sysctl: allowed, args: { cni: { sysctl: { 'net.ipv4.conf.all.forwarding': '1' } } } },
    ]
    for (const keys of forbidden)
      t.match(
        addWithAllowList(host, main, list, keys).error,
        { code: 7, msg: /^Sysctl .* is not allowed. Only the following sysctls are allowed: \[\^net/ },
        JSON.stringify(keys),
      )
    t.match(
      addWithAllowList(host, main, '', { sysctl: allowed }).error,
      { code: 7, msg: /is not allowed/ },
      'an empty list',
    )
    t.match(addWithAllowList(host, main, '(?=net)', { sysctl: allowed }).error, {
      code: 7,
      msg: /allowlist.conf: "\(\?=net\)": .* is not supported/,
    })
    t.equal(addWithAllowList(host, main, '(', { mtu: 1500 }).status, 0, 'without sysctls nobody reads it')
    t.same(differences(before, snapshot(main.container)), [])
  }),
)
