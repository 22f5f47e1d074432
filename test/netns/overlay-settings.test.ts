/** What settings make of a network on its host: the tunnel, the firewall's tables, families, results, sizes and names. */

import t from 'tap'
import { withCluster } from '../harness/index.ts'
import { assertGone, gatewayAddresses, overlayOn, ownRanges } from './overlay-fixture.ts'

t.test('the tunnel: pinned address, given port and VNI, a fixed MAC, its socket in the namespace of the host', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const host = cluster.host(1)
    overlayOn(cluster, host, { vni: 16_777_215, port: 4790 }).attach()
    const [vxlan] = host.named('overlay-web').show<Record<string, unknown>[]>('link', 'show', 'vxlan0')
    t.match(vxlan, {
      linkinfo: { info_data: { id: 16_777_215, local: '192.0.2.1', port: 4790 } },
      addr_assign_type: undefined,
    })
    t.match(vxlan?.ifalias, /^cnikit overlay web settings [0-9a-f]{16}$/)
    t.match(host.output(['ss', '-Hulpn', 'sport = :4790']), /4790/)
    t.equal(host.named('overlay-web').output(['ss', '-Huln']), '', 'none in the overlay namespace')
  }),
)

t.test('results have the form of the version that is asked for', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const prevResults: unknown[] = []
    for (const cniVersion of ['0.2.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
      const attachment = overlayOn(cluster, host, { cniVersion }).attachment()
      const { json } = attachment.add()
      t.match(json, { cniVersion })
      prevResults.push(json)
      t.ok(attachment.container.pings(cluster.outside.underlay.ipv4), cniVersion)
      attachment.del()
    }
    t.match(prevResults[0], { ip4: { ip: /^10\.1\.0\.\d+\/24$/ }, ip6: { ip: /^fd00:1::/ } })
    assertGone(t, host)
  }),
)

t.test('nft can save the tables and load them again', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const host = cluster.host(1)
    const attachment = overlayOn(cluster, host).attach()
    const peers = cluster.hosts.map(({ underlay }) => underlay.ipv6)
    overlayOn(cluster, host, { name: 'six', vni: 6, controlPlane: { type: 'static', peers } }).attach()
    const before = host.output(['nft', 'list', 'ruleset'])
    t.match(before, /4789 \. 0x6 \. 2001:db8:2::2 comment "six"/)
    host.output(['sh', '-ec', 'nft list ruleset > /run/saved; nft flush ruleset; nft -f /run/saved'])
    t.equal(host.output(['nft', 'list', 'ruleset']), before)
    t.equal(attachment.check().status, 0)
  }),
)

t.test('a network of one family has a way out in that family alone', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const { outside } = cluster
    for (const family of [4, 6] as const) {
      const attachment = overlayOn(cluster, host, { ipam: ownRanges(host, 1, [family]) }).attach()
      const { container } = attachment
      t.equal(gatewayAddresses(attachment).length, 1)
      t.equal(container.pings(outside.underlay.ipv4, 1), family === 4, `IPv${family}: the world of IPv4`)
      t.equal(container.pings(outside.underlay.ipv6, 1), family === 6, `IPv${family}: the world of IPv6`)
      t.equal(attachment.check().status, 0)
      attachment.del()
    }
    assertGone(t, host)
  }),
)

t.test('a default route of the address plugin takes the place of the way out', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const ipam = { ...ownRanges(host, 1, [4]), routes: [{ dst: '0.0.0.0/0' }] }
    const { container, result } = overlayOn(cluster, host, { ipam }).attach()
    t.same(container.links().toSorted(), ['eth0', 'lo'])
    t.match(result.ips, [{ gateway: '10.1.0.1' }])
    t.match(container.show('route'), [{ dst: 'default', gateway: '10.1.0.1', dev: 'eth0' }])
  }),
)

t.test('a thousand peers', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const others = Array.from({ length: 1000 }, (_, index) => `10.20.${index >> 8}.${index & 255}`)
    const config = { name: 'x'.repeat(127), controlPlane: { type: 'static', peers: ['192.0.2.1', ...others] } }
    const attachment = overlayOn(cluster, host, config).attach()
    t.equal(attachment.check().status, 0)
    const fewer = { ...config, controlPlane: { type: 'static', peers: ['192.0.2.1', ...others.slice(900)] } }
    const second = overlayOn(cluster, host, fewer).attach()
    t.equal(second.check().status, 0)
    const listed = host.output(['nft', 'list', 'set', 'inet', 'cnikit-overlay', 'peers-ipv4']).match(/10\.20\./g)
    t.equal(listed?.length, 100)
    attachment.del()
    second.del()
    assertGone(t, host)
  }),
)

t.test('names of any length', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host, { name: `web-${'x'.repeat(240)}` })
    const [one, two] = [
      network.attach({ containerId: 'c'.repeat(200) }),
      network.attach({ containerId: 'd'.repeat(200) }),
    ]
    t.equal(host.namedNamespaces().length, 1)
    t.equal(one.check().status, 0)
    one.del()
    t.equal(two.check().status, 0, 'the network stays for the second')
    network.gc([two])
    t.equal(two.check().status, 0)
    two.del()
    assertGone(t, host)
  }),
)
