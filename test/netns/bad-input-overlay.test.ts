/** Configurations of overlay networks that must be refused, with a message that names the value and the remedy. */

import t from 'tap'
import { type ClusterHost, withCluster } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'
import { overlayOn, ownRanges } from './overlay-fixture.ts'

const code = 7
const plane = (controlPlane: object) => ({ controlPlane })
const ipam = { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/24' }]] }
const local = { type: 'static', local: '192.0.2.1' }

const table: readonly Omit<Refusal, 'plugin'>[] = [
  { what: 'VNI 2^24', config: { vni: 2 ** 24 }, code, says: /"vni" is 16777216.*1 to 16777215/ },
  { what: 'VNI 0', config: { vni: 0 }, code, says: /"vni" is 0/ },
  { what: 'VNI as text', config: { vni: '4097' }, code, says: /"vni"/ },
  { what: 'no VNI', config: { vni: undefined }, code, says: /required "vni" is missing/ },
  { what: 'port 0', config: { port: 0 }, code, says: /"port" is 0/ },
  { what: 'port 65536', config: { port: 65_536 }, code, says: /"port" is 65536/ },
  { what: 'an MTU below 68', config: { mtu: 67 }, code, says: /"mtu" is 67/ },
  {
    what: 'an MTU that the underlay does not carry',
    config: { mtu: 1451 },
    code,
    says: /"mtu" is 1451, but at most 1450 fits: "uplink" carries 1500 bytes, and VXLAN over IPv4 takes 50/,
  },
  {
    what: 'an MTU that the IPv6 underlay does not carry',
    config: { mtu: 1450, ...plane({ type: 'static', local: '2001:db8:2::1' }) },
    code,
    says: /at most 1430 fits.*IPv6 takes 70/,
  },
  {
    what: 'an MTU too small for IPv6 addresses',
    config: { mtu: 1279 },
    code,
    says: /IPv6 addresses, but its MTU is 1279/,
  },
  { what: 'no control plane', config: { controlPlane: undefined }, code, says: /controlPlane/ },
  {
    what: 'an unknown control plane',
    config: plane({ type: 'gossip' }),
    code,
    says: /"controlPlane.type" is "gossip"/,
  },
  { what: 'no peers and no local', config: plane({ type: 'static' }), code, says: /neither "peers" nor "local"/ },
  {
    what: 'this host not among the peers',
    config: plane({ type: 'static', peers: ['192.0.2.9'] }),
    code,
    says: /no address of this host: 192\.0\.2\.9/,
  },
  {
    what: 'this host twice among the peers',
    config: plane({ type: 'static', peers: ['192.0.2.1', '192.0.2.55', '192.0.2.2'] }),
    code,
    says: /has 2 addresses of this host: 192\.0\.2\.1, 192\.0\.2\.55/,
  },
  {
    what: 'a peer twice',
    config: plane({ type: 'static', peers: ['192.0.2.1', '192.0.2.2', '192.0.2.2'] }),
    code,
    says: /has 192\.0\.2\.2 twice/,
  },
  {
    what: 'a peer twice in two spellings',
    config: plane({ type: 'static', peers: ['2001:db8:2::1', '2001:db8:2:0::1'] }),
    code,
    says: /has 2001:db8:2::1 twice/,
  },
  {
    what: 'a peer that is no address',
    config: plane({ type: 'static', peers: ['host-2'] }),
    code,
    says: /"controlPlane.peers\[0\]" is "host-2"/,
  },
  {
    what: 'a multicast peer',
    config: plane({ type: 'static', peers: ['239.1.1.1'] }),
    code,
    says: /must be a host's address/,
  },
  {
    what: 'peers of both families',
    config: plane({ type: 'static', peers: ['192.0.2.1', '2001:db8:2::2'] }),
    code,
    says: /both families: 192\.0\.2\.1 and 2001:db8:2::2/,
  },
  {
    what: 'a local address of another host',
    config: plane({ type: 'static', local: '192.0.2.2' }),
    code,
    says: /192\.0\.2\.2 is no address of this host/,
  },
  {
    what: 'a group with static peers',
    config: plane({ ...local, group: '239.1.1.1' }),
    code,
    says: /"controlPlane.group" means nothing/,
  },
  {
    what: 'peers with the agent',
    config: plane({ type: 'etcd', peers: [] }),
    code,
    says: /"controlPlane.peers" means nothing/,
  },
  {
    what: 'a socket that is no absolute path',
    config: plane({ type: 'etcd', socket: 'overlayd.sock' }),
    code,
    says: /"controlPlane.socket"/,
  },
  {
    what: 'a group that is no multicast address',
    config: plane({ type: 'multicast', group: '192.0.2.77', interface: 'uplink' }),
    code,
    says: /"controlPlane.group" is "192\.0\.2\.77", but must be a multicast address/,
  },
  {
    what: 'no group',
    config: plane({ type: 'multicast', interface: 'uplink' }),
    code,
    says: /must be a multicast address/,
  },
  {
    what: 'a group without interface',
    config: plane({ type: 'multicast', group: '239.1.1.1' }),
    code,
    says: /"controlPlane.interface" is missing/,
  },
  {
    what: 'a group on an interface that is not there',
    config: plane({ type: 'multicast', group: '239.1.1.1', interface: 'eth7' }),
    code: 109,
    says: /"eth7" of "controlPlane" is not there/,
  },
  {
    what: 'a group on an interface without address',
    config: plane({ type: 'multicast', group: '239.1.1.1', interface: 'plain' }),
    code,
    says: /"plain" has no IPv4 address/,
  },
  {
    what: 'a peer without a route',
    config: plane({ ...local, peers: ['203.0.113.7'] }),
    code: 104,
    says: /no route to peer 203\.0\.113\.7/,
  },
  { what: 'no address plugin', config: { ipam: undefined }, code, says: /ipam/ },
  { what: 'an empty address plugin', config: { ipam: { type: '' } }, code, says: /"ipam.type"/ },
  {
    what: 'overlapping subnets in the network',
    config: { ipam: { ...ipam, ranges: [[{ subnet: '10.1.0.0/16' }], [{ subnet: '10.1.2.0/24' }]] } },
    code,
    says: /range set 0 overlaps with 1/,
  },
  {
    what: 'a subnet that overlaps with that of the gateway bridge',
    config: { gatewayBridge: { name: 'gw0', subnet: '10.1.0.0/16' } },
    code: 104,
    says: /subnet 10\.1\.0\.0\/24 overlaps with that of "gw0", 10\.1\.0\.0\/16/,
  },
  {
    what: 'a gateway subnet with host bits',
    config: { gatewayBridge: { subnet: '10.5.0.1/16' } },
    code,
    says: /host bits/,
  },
  {
    what: 'a gateway subnet of the other family',
    config: { gatewayBridge: { subnet: 'fd00::/64' } },
    code,
    says: /must be an IPv4 subnet/,
  },
  { what: 'a gateway subnet too small', config: { gatewayBridge: { subnet: '10.5.0.0/31' } }, code, says: /too small/ },
  {
    what: 'a gateway bridge with a name too long',
    config: { gatewayBridge: { name: 'a-very-long-name' } },
    code,
    says: /"gatewayBridge.name"/,
  },
  {
    what: "a gateway bridge that is somebody else's",
    config: { gatewayBridge: { name: 'foreign' } },
    code: 104,
    says: /"foreign" is not one of cnikit's/,
  },
  {
    what: 'a gateway bridge that is no bridge',
    config: { gatewayBridge: { name: 'plain' } },
    code: 104,
    says: /"plain" already exists but is not a bridge/,
  },
  {
    what: 'a service without the agent',
    config: { services: [{ name: 'api' }] },
    code,
    says: /service "api" needs the control plane "etcd"/,
  },
  {
    what: 'a service in CNI_ARGS without the agent',
    environment: { CNI_ARGS: 'SERVICE=api' },
    code,
    says: /service "api" needs/,
  },
  {
    what: 'ports without a service',
    environment: { CNI_ARGS: 'PUBLISH=8080:80' },
    code: 4,
    says: /there is no SERVICE/,
  },
  {
    what: 'a port that is none',
    config: { controlPlane: { type: 'etcd' }, services: [{ name: 'api', ports: [{ published: 70_000 }] }] },
    code,
    says: /service "api" has the published port 70000/,
  },
  {
    what: 'ranges of different length',
    config: {
      controlPlane: { type: 'etcd' },
      services: [{ name: 'api', ports: [{ published: '1-3', target: '1-2' }] }],
    },
    code,
    says: /publishes 3 ports \(1-3\) for 2 targets/,
  },
  {
    what: 'a service twice',
    config: { controlPlane: { type: 'etcd' }, services: [{ name: 'api' }, { name: 'api' }] },
    code,
    says: /service "api" is named twice/,
  },
  {
    what: 'a MAC address of a group',
    config: { mac: '01:00:5e:00:00:01' },
    code,
    says: /cannot be an interface's address/,
  },
]

t.test('configurations are refused before anything is changed', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    host.ip(`link add plain type veth peer name other
addr add 192.0.2.55/32 dev lo
link add foreign type bridge
route del default`)
    const keys = { type: 'overlay', name: 'web', vni: 4097, controlPlane: local, ipam: ownRanges(host) }
    assertRefusals(t, host, () => table.map(one => ({ plugin: 'overlay', ...one })), keys)
  }),
)

t.test("a VNI is one network's on a host: the owner is named", t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    overlayOn(cluster, host).attach()
    t.match(overlayOn(cluster, host, { name: 'second' }).attachment().tryAdd().error, {
      code: 104,
      msg: 'VNI 4097 on port 4789 is taken on this host by network "web"',
    })
    t.same(host.namedNamespaces(), ['overlay-web'])
    overlayOn(cluster, host, { name: 'second', port: 4790 }).attach()
    host.ip('link add flannel.9 type vxlan id 9 dstport 4789 local 192.0.2.1')
    t.match(overlayOn(cluster, host, { name: 'third', vni: 9 }).attachment().tryAdd().error, {
      code: 104,
      msg: /taken on this host by "flannel\.9" in the host's own namespace/,
    })
  }),
)

t.test('a port that a program listens on is named, and nothing is left behind', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    const script = "require('dgram').createSocket('udp4').bind(4789, () => console.log('bound'))"
    const child = host.start([process.execPath, '-e', script])
    await child.says(/bound/)
    const attachment = overlayOn(cluster, host).attachment()
    t.match(attachment.tryAdd().error, { code: 104, msg: /UDP port 4789 is taken on this host/ })
    t.same(host.namedNamespaces(), [])
    t.same(attachment.container.links(), ['lo'])
    await child.stop('SIGKILL')
    attachment.add()
  }),
)

t.test('networks that share a gateway bridge share its subnet', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host = cluster.host(1)
    const gatewayBridge = { subnet: '10.5.0.0/16' }
    const { result } = overlayOn(cluster, host, { gatewayBridge }).attach()
    t.match(result.ips, [{}, {}, { address: '10.5.0.2/16', gateway: '10.5.0.1' }])
    const other = { name: 'other', vni: 4098 }
    overlayOn(cluster, host, other).attach().del()
    t.match(
      overlayOn(cluster, host, { ...other, gatewayBridge: { subnet: '10.6.0.0/16' } })
        .attachment()
        .tryAdd().error,
      {
        code: 104,
        msg: '"docker_gwbridge" has the subnet 10.5.0.0/16, but "gatewayBridge" says 10.6.0.0/16',
      },
    )
    const own = overlayOn(cluster, host, { ...other, gatewayBridge: { name: 'gw1', subnet: '10.6.0.0/16' } }).attach()
    t.ok(own.container.pings(cluster.outside.underlay.ipv4), 'a bridge of its own')
  }),
)

t.test('a container cannot be in two networks with the same addresses', t =>
  withCluster(t, { hosts: 1 }, cluster => {
    const host: ClusterHost = cluster.host(1)
    const { container, containerId } = overlayOn(cluster, host).attach()
    const twin = overlayOn(cluster, host, { name: 'twin', vni: 4098 })
    t.match(twin.attachment({ container, containerId, ifname: 'eth9' }).tryAdd().error, {
      code: 104,
      msg: /already has the address 10\.1\.0\.\d+\/24/,
    })
    t.same(host.namedNamespaces(), ['overlay-web'])
  }),
)

t.test('an underlay with less room is probed, also the route to a peer', t =>
  withCluster(t, { hosts: 2, mtu: 1400 }, cluster => {
    const host = cluster.host(1)
    t.equal(overlayOn(cluster, host).attach().result.interfaces?.[0]?.mtu, 1350)
    const narrow = cluster.host(2)
    narrow.ip('route add 192.0.2.1/32 dev uplink mtu 1300')
    const ipam = ownRanges(narrow, 1, [4])
    t.equal(overlayOn(cluster, narrow, { ipam }).attach().result.interfaces?.[0]?.mtu, 1250)
  }),
)
