/** Our tuning and the Go plugin side by side: the same changes, and either restores what the other has changed. */

import t from 'tap'
import { goPluginDirectory, withHost } from '../harness/index.ts'
import { backups, behind, bridged, settingsOf, sysctlOf, tuningNetwork } from './tuning-fixture.ts'

/** What Debian's Go plugin knows: no queue length, and no other end. */
const configurations: Readonly<Record<string, object>> = {
  nothing: {},
  'a MAC address': { mac: '02:00:00:00:77:01' },
  'an MTU': { mtu: 1400 },
  'promiscuous mode': { promisc: true },
  'all-multicast mode on': { allmulti: true },
  'all-multicast mode off': { allmulti: false },
  sysctls: { sysctl: { 'net.core.somaxconn': '517', 'net.ipv4.conf.IFNAME.arp_filter': '1' } },
  args: { mtu: 1300, args: { cni: { mac: '02:00:00:00:77:02', mtu: 1350, promisc: true, allmulti: true } } },
  'the runtime': { mac: '02:00:00:00:77:03', runtimeConfig: { mac: '02:00:00:00:77:04' } },
  'everything in capitals': { MTU: 1400, MAC: '02:00:00:00:77:05', Promisc: true },
}

for (const [what, keys] of Object.entries(configurations))
  t.test(`the same as with the Go plugin, forth and back: ${what}`, t =>
    withHost(t, host => {
      const ours = tuningNetwork(host, { cniVersion: '1.0.0', ...keys })
      const theirs = ours.with({}, goPluginDirectory)
      const bridge = bridged(host).with({ cniVersion: '1.0.0' })
      const main = bridge.attach()
      const before = settingsOf(main)
      const sysctls = ['net/core/somaxconn', 'net/ipv4/conf/eth0/arp_filter']
      const states = [ours, theirs].map(network => {
        const tuned = behind(main, network)
        tuned.add()
        const { hostMtu: _, ...own } = settingsOf(main)
        // The Go plugin writes an empty one too.
        const { dns, ...result } = tuned.result
        t.same(dns ?? {}, {})
        const state = { settings: own, result, sysctls: sysctls.map(name => sysctlOf(main, name)) }
        const other = network === ours ? theirs : ours
        // The Go plugin looks for a sysctl of IFNAME under that name.
        if (what !== 'sysctls') t.equal(other.adopt(tuned).check().stdout, '', 'the other one finds nothing wrong')
        other.adopt(tuned).del()
        const { hostMtu, ...restored } = settingsOf(main)
        const { hostMtu: hostMtuBefore, ...same } = before
        t.same(restored, same, 'the other one restores it')
        t.same(backups(host), [])
        // The Go plugin does not know of the other end.
        if (network === theirs) t.equal(hostMtu, hostMtuBefore)
        else host.ip(`link set ${main.port} mtu ${hostMtuBefore}`)
        return state
      })
      t.same(states[0], states[1])
    }),
  )
