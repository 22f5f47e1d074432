/** CHECK and STATUS of overlay networks, and what the next ADD mends. */

import t from 'tap'
import { type ClusterHost, type Network, withCluster } from '../harness/index.ts'
import { attachEverywhere, overlayOn, ownAddresses } from './overlay-fixture.ts'

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
