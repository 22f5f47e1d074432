/** macvlan's results: each version of the protocol, name servers, addresses of whichever address plugin. */

import t from 'tap'
import { cniVersions } from '../../lib/cni/types.ts'
import { withHost } from '../harness/index.ts'
import { createLan, interfaceOf, lanAddressing, macvlanNetwork } from './macvlan-fixture.ts'

t.test('without ipam the container has a link that is up, and no addresses', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const one = macvlanNetwork(host, { ipam: undefined }).attach()
    t.same(Object.keys(one.result), ['cniVersion', 'interfaces'])
    one.container.ip('addr add 10.88.0.77/24 dev eth0')
    t.ok(lan.pings('10.88.0.77'))
    t.equal(one.check().stdout, '')
    one.del()
    t.same(one.container.links(), ['lo'])
  }),
)

for (const cniVersion of cniVersions)
  t.test(`the result of version ${cniVersion}`, t =>
    withHost(t, async host => {
      await createLan(host)
      const dns = { nameservers: ['192.0.2.53'], domain: 'lan.example' }
      const network = macvlanNetwork(host, { cniVersion, dns })
      const one = network.attach()
      const { address: mac } = interfaceOf(one.container)
      const old = cniVersion === '0.1.0' || cniVersion === '0.2.0'
      const middle = !old && cniVersion.startsWith('0.')
      const routes = { ipv4: [{ dst: '0.0.0.0/0' }], ipv6: [{ dst: '::/0' }] }
      const version = (family: string) => (middle ? { version: family } : {})
      t.same(
        one.result,
        old
          ? {
              cniVersion,
              ip4: { ip: '10.88.0.2/24', gateway: '10.88.0.1', routes: routes.ipv4 },
              ip6: { ip: 'fd00:88::2/64', gateway: 'fd00:88::1', routes: routes.ipv6 },
              dns,
            }
          : {
              cniVersion,
              interfaces: [
                { name: 'eth0', mac, sandbox: one.container.path, ...(cniVersion === '1.1.0' ? { mtu: 1500 } : {}) },
              ],
              ips: [
                { ...version('4'), interface: 0, address: '10.88.0.2/24', gateway: '10.88.0.1' },
                { ...version('6'), interface: 0, address: 'fd00:88::2/64', gateway: 'fd00:88::1' },
              ],
              routes: [...routes.ipv4, ...routes.ipv6],
              dns,
            },
      )
    }),
  )

t.test("the IPAM plugin's name servers are in the result unless the configuration has some", t =>
  withHost(t, async host => {
    await createLan(host)
    host.output(['sh', '-c', `echo nameserver 192.0.2.1 > ${host.directory}/resolv.conf`])
    const ipam = { ...lanAddressing(host), resolvConf: `${host.directory}/resolv.conf` }
    t.same(macvlanNetwork(host, { ipam }).attach().result.dns, { nameservers: ['192.0.2.1'] })
  }),
)

t.test('addresses of static, which is part of the same executable', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const ipam = { type: 'static', addresses: [{ address: '10.88.0.60/24', gateway: '10.88.0.1' }] }
    const one = macvlanNetwork(host, { ipam }).attach()
    t.same(one.addresses, ['10.88.0.60'])
    t.ok(lan.pings('10.88.0.60'))
  }),
)
