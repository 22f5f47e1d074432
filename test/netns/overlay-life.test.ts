/** A network on a host, from its first container to its last; ADD, DEL, GC, CHECK and STATUS on the way. */

import t, { type Test } from 'tap'
import { type ClusterHost, differences, type Network, snapshot, withCluster } from '../harness/index.ts'
import { attachEverywhere, gatewayAddresses, overlayOn, ownAddresses, ownRanges } from './overlay-fixture.ts'

/** Addresses that are given out on the host. */
const held = (host: ClusterHost): string[] =>
  host
    .output(['sh', '-c', 'cd /var/lib/cni/networks && ls -d */* 2>/dev/null || true'])
    .split('\n')
    .filter(name => /\/[0-9a-f]+[.:]/.test(name))

/** GC may have removed the table. */
const masqueraded = (host: ClusterHost): boolean =>
  /comment/.test(host.execute(['nft', 'list', 'table', 'inet', 'cnikit']).stdout)

/** Nothing is left of the network and its containers, apart from the gateway bridge. */
function assertGone(t: Test, host: ClusterHost): void {
  t.same(host.namedNamespaces(), [], 'no namespace')
  t.same(host.links().toSorted(), ['docker_gwbridge', 'lo', 'uplink'], 'no link')
  t.same(held(host), [], 'no address')
  t.notOk(masqueraded(host), 'no masquerade')
  const filter = host.output(['nft', 'list', 'table', 'inet', 'cnikit-overlay'])
  t.notMatch(filter, /comment/, 'no peer')
  t.same(host.output(['sh', '-c', 'ls /run/cnikit/networks | grep overlay || true']), '', 'no lock')
}

t.test('the first container makes the network, the last takes it along', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    const first = network.attach()
    t.same(host.namedNamespaces(), ['overlay-web'])
    const inside = host.named('overlay-web')
    t.ok(inside.links().includes('vxlan0'))
    const second = network.attach()
    first.del()
    t.ok(inside.links().includes('vxlan0'), 'the network stays for the second')
    t.ok(second.container.pings(cluster.outside.underlay.ipv4))
    second.del()
    assertGone(t, host)
  }),
)

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

t.test('DEL works without result, namespace, overlay namespace, gateway bridge and firewall, and twice', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    network.attach().del()
    const ways: Record<string, (attachment: ReturnType<Network['attach']>) => void> = {
      'without a result': attachment => attachment.del({ withoutResult: true }),
      'without a namespace': attachment => attachment.del({ netns: '' }),
      'with a namespace that is gone': attachment => {
        host.deleteContainer(attachment.container)
        attachment.del()
      },
      "with the container's links gone": attachment => {
        attachment.container.ip('link del eth0\nlink del eth1')
        attachment.del()
      },
      'with the overlay namespace unmounted': attachment => {
        host.output(['ip', 'netns', 'del', 'overlay-web'])
        attachment.del()
      },
      'with the VXLAN device deleted': attachment => {
        host.named('overlay-web').ip('link del vxlan0')
        attachment.del()
      },
      'with the overlay bridge deleted': attachment => {
        host.named('overlay-web').ip('link del br0')
        attachment.del()
      },
      'with the gateway bridge deleted': attachment => {
        host.ip('link del docker_gwbridge')
        attachment.del()
        network.attach().del()
      },
      'with the ruleset flushed': attachment => {
        host.output(['nft', 'flush', 'ruleset'])
        attachment.del()
        network.attach().del()
      },
      'with the state files gone': attachment => {
        host.output(['rm', '-r', '/var/lib/cni'])
        attachment.del()
        network.attach().del()
      },
      twice: attachment => {
        attachment.del()
        attachment.del()
      },
    }
    for (const [name, del] of Object.entries(ways)) {
      t.comment(name)
      del(network.attach())
      assertGone(t, host)
    }
    network.attachment().del()
  }),
)

t.test('a repeated ADD is refused and does not harm the first', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const [one, two] = attachEverywhere(cluster)
    if (one === undefined || two === undefined) throw new Error('there are attachments')
    const before = snapshot(one.network.host)
    t.equal(one.network.run(one.request('ADD')).error?.code, 104)
    t.same(differences(before, snapshot(one.network.host)), [])
    for (const address of ownAddresses(two)) t.ok(one.container.pings(address))
    t.equal(one.check().status, 0)
  }),
)

t.test('first and last containers of many runtimes at once', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    for (let round = 0; round < 3; round++) {
      const attachments = await network.attachAtOnce(6)
      t.equal(new Set(attachments.flatMap(ownAddresses)).size, 12, 'each has addresses of its own')
      t.equal(new Set(attachments.flatMap(gatewayAddresses)).size, 12, 'on the gateway bridge too')
      const [first, ...others] = attachments
      for (const other of others) t.ok(other.container.pings(ownAddresses(first as never)[0] ?? ''))
      const dels = attachments.map(attachment => network.start(attachment.request('DEL')))
      // New ones come while the last go.
      const more = network.attachAtOnce(2)
      for (const child of dels) t.equal((await child.ended).status, 0)
      for (const attachment of await more) {
        t.equal(attachment.check().status, 0)
        attachment.del()
      }
      assertGone(t, host)
    }
  }),
)

t.test('the list of peers can change while containers run; the number of the network cannot', t =>
  withCluster(t, { hosts: 3 }, cluster => {
    const [one, two, three] = [cluster.host(1), cluster.host(2), cluster.host(3)]
    const peers = (hosts: readonly ClusterHost[]) => ({ type: 'static', peers: hosts.map(host => host.underlay.ipv4) })
    const first = overlayOn(cluster, one, { controlPlane: peers([one, two]) }).attach()
    const third = overlayOn(cluster, three, { controlPlane: peers([one, two, three]) }).attach()
    const [address = ''] = ownAddresses(first)
    t.notOk(third.container.pings(address, 1), 'not a peer yet')
    overlayOn(cluster, one, { controlPlane: peers([one, two, three]) }).attach()
    t.ok(third.container.pings(address), 'a peer from the next ADD on')
    overlayOn(cluster, one, { controlPlane: peers([one, two]) }).attach()
    t.notOk(third.container.pings(address, 1), 'and no longer')
    const refused = overlayOn(cluster, one, { vni: 5000 }).attachment().tryAdd()
    t.match(refused.error, { code: 104, msg: /network "web" runs on this host with VNI 4097 on port 4789/ })
    t.equal(first.container.pings(cluster.outside.underlay.ipv4), true)
  }),
)

t.test('a network with nothing but remains is made anew with other settings', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    host.output(['ip', 'netns', 'add', 'overlay-web'])
    host
      .named('overlay-web')
      .ip('link add br0 type bridge\nlink add vxlan0 type vxlan id 9 dstport 4789 local 192.0.2.1')
    const attachment = overlayOn(cluster, host).attach()
    t.equal(attachment.check().status, 0)
    attachment.del()
    assertGone(t, host)
    // As a crash in the middle leaves it: a file on which nothing is mounted.
    host.output(['touch', '/run/netns/overlay-web'])
    overlayOn(cluster, host).attach().del()
    assertGone(t, host)
  }),
)

t.test('GC removes what lost attachments have left, and the network with the last', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    const [kept, lost, gone] = [network.attach(), network.attach(), network.attach()]
    host.deleteContainer(gone.container)
    network.gc([kept])
    t.same(lost.container.links(), ['lo'])
    t.equal(kept.check().status, 0)
    t.ok(kept.container.pings(cluster.outside.underlay.ipv4))
    t.equal(held(host).length, 4, 'two addresses of each family')
    network.gc(undefined)
    t.equal(kept.check().status, 0, 'without a list of the valid nothing goes')
    network.gc([])
    assertGone(t, host)
  }),
)

t.test('GC of one network leaves others alone', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const other = overlayOn(cluster, host, { name: 'other', vni: 4098 }).attach()
    overlayOn(cluster, host).gc([])
    t.equal(other.check().status, 0)
    t.ok(other.container.pings(cluster.outside.underlay.ipv4))
  }),
)

t.test('CHECK finds every kind of damage', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    const overlay = host.named('overlay-web')
    const damages: Record<string, [(attachment: ReturnType<Network['attach']>) => void, RegExp]> = {
      'the VXLAN device is gone': [() => overlay.ip('link del vxlan0'), /VXLAN device of network "web" is gone/],
      'the VXLAN device is down': [() => overlay.ip('link set vxlan0 down'), /"vxlan0" of network "web" is down/],
      'the bridge is gone': [() => overlay.ip('link del br0'), /bridge of network "web" is gone/],
      'the tunnel left the bridge': [() => overlay.ip('link set vxlan0 nomaster'), /is not attached to its bridge/],
      'nobody gets broadcasts': [
        () => overlay.output(['bridge', 'fdb', 'del', '00:00:00:00:00:00', 'dev', 'vxlan0', 'dst', '192.0.2.2']),
        /no longer sends to peer 192\.0\.2\.2/,
      ],
      'the peer filter is gone': [() => host.output(['nft', 'flush', 'ruleset']), /peer filter of network "web"/],
      'a peer is missing': [
        () => host.output(['nft', 'flush set inet cnikit-overlay peers-ipv4']),
        /lacks peer 192\.0\.2\.2/,
      ],
      'the port is down': [
        ({ container }) => {
          const [, peer] = /eth0@if(\d+)/.exec(container.output(['ip', '-o', 'link', 'show', 'eth0'])) ?? []
          const port = overlay
            .show<{ ifindex: number; ifname: string }[]>('link')
            .find(one => one.ifindex === Number(peer))
          overlay.ip(`link set ${port?.ifname} down`)
        },
        /port "veth.*" of bridge "br0" is down/,
      ],
      'the interface is gone': [({ container }) => container.ip('link del eth0'), /is gone/],
      'the address is gone': [
        ({ container }) => container.ip('addr flush dev eth0'),
        /address 10\.1\.0\.\d+\/24 is gone/,
      ],
      'the way out is gone': [({ container }) => container.ip('link del eth1'), /is gone/],
      'the default route is gone': [({ container }) => container.ip('route del default'), /route to 0\.0\.0\.0\/0/],
      'ports see one another': [
        ({ result }) => host.ip(`link set ${result.interfaces?.[3]?.name} type bridge_slave isolated off`),
        /is not isolated/,
      ],
      'the gateway bridge has no address': [
        () => host.ip('addr flush dev docker_gwbridge'),
        /"docker_gwbridge" has lost its address/,
      ],
      'the host does not forward': [() => host.output(['sysctl', '-qw', 'net.ipv4.ip_forward=0']), /forwarding is off/],
    }
    for (const [name, [damage, says]] of Object.entries(damages)) {
      const attachment = network.attach()
      t.equal(attachment.check().status, 0, `before: ${name}`)
      damage(attachment)
      const { error } = attachment.check()
      t.equal(error?.code, 105, name)
      t.match(error?.msg, says, name)
      attachment.del()
      if (name.startsWith('the gateway bridge')) host.ip('link del docker_gwbridge')
    }
    const attachment = network.attach()
    host.output(['ip', 'netns', 'del', 'overlay-web'])
    t.match(attachment.check().error, { code: 105, msg: /namespace "overlay-web" is gone/ })
    attachment.del()
  }),
)

t.test('an ADD after damage mends the network for the containers that have it', t =>
  withCluster(t, { hosts: 2 }, cluster => {
    const [one, two] = attachEverywhere(cluster)
    if (one === undefined || two === undefined) throw new Error('there are attachments')
    const { host } = one.network
    const overlay = (host as ClusterHost).named('overlay-web')
    for (const damage of ['link del vxlan0', 'link set vxlan0 down', 'link set vxlan0 nomaster']) {
      overlay.ip(damage)
      t.notOk(one.container.pings(ownAddresses(two)[0] ?? '', 1), damage)
      one.network.attach().del()
      t.ok(one.container.pings(ownAddresses(two)[0] ?? ''), `mended after ${damage}`)
      t.equal(one.check().status, 0)
    }
    host.output(['nft', 'flush', 'ruleset'])
    one.network.attach()
    const ruleset = host.output(['nft', 'list', 'ruleset'])
    t.match(ruleset, /4789 \. 0x1001 \. 192\.0\.2\.2 comment "web"/, 'the peer filter, after a reload of the firewall')
    t.match(ruleset, /elements = \{ "docker_gwbridge" \}/, 'the isolation of the gateway bridge')
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

t.test('a gateway bridge without a free port says so, and nothing is left behind', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    network.attach().del()
    const ports = Array.from({ length: 1023 }, (_, index) => `p${index}`)
    host.ip(
      ports
        .map(port => `link add ${port} type veth peer name ${port}x\nlink set ${port} master docker_gwbridge`)
        .join('\n'),
    )
    const attachment = network.attachment()
    t.match(attachment.tryAdd().error, {
      code: 104,
      msg: 'bridge "docker_gwbridge" is full: it has 1023 ports, the most that the kernel allows',
    })
    t.same(attachment.container.links(), ['lo'])
    t.same(host.namedNamespaces(), [])
    t.same(held(host), [])
    host.ip('link del p77')
    attachment.add()
    attachment.del()
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

t.test('STATUS tells whether ADD can be served', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    t.equal(network.status().status, 0)
    t.match(network.status({ controlPlane: { type: 'static', peers: ['192.0.2.77'] } }).error, { code: 7 })
    t.match(network.status({ mtu: 1500 }).error, { code: 7, msg: /at most 1450 fits/ })
    t.match(network.status({ controlPlane: { type: 'multicast', group: '239.1.1.1', interface: 'eth7' } }).error, {
      code: 50,
      msg: /"eth7"/,
    })
    t.match(network.status({ controlPlane: { type: 'etcd' } }).error, { code: 50, msg: /overlayd/ })
    host.ip('link add docker_gwbridge type bridge')
    t.match(network.status().error, { code: 50, msg: /"docker_gwbridge" is not one of cnikit's/ })
  }),
)

t.test('without overlayd, a network of its control plane is to be tried again, and DEL succeeds', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host, { vni: undefined, controlPlane: { type: 'etcd' } })
    const attachment = network.attachment()
    t.match(attachment.tryAdd().error, { code: 11, msg: /overlayd does not answer/ })
    t.same(attachment.container.links(), ['lo'])
    attachment.del()
    t.equal(
      host.output(['sh', '-c', 'ls /var/lib/cnikit/overlayd/spool | wc -l']).trim(),
      '1',
      'the release is in the spool',
    )
  }),
)
