/** A network on a host, from its first container to its last: ADD, DEL and GC, whatever has become of it meanwhile. */

import t from 'tap'
import { type ClusterHost, differences, type Network, snapshot, withCluster } from '../harness/index.ts'
import { assertGone, attachEverywhere, gatewayAddresses, held, overlayOn, ownAddresses } from './overlay-fixture.ts'

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
