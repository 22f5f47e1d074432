/** containerd with the conflist that users of kubeadm get: bridge, portmap and bandwidth. */

import t from 'tap'
import { createOutside, differences, startPeer, withHost } from '../harness/index.ts'
import { Machine } from '../harness/machine.ts'
import { Containerd } from './containerd.ts'
import { assertConnected, dualStack, remains } from './network.ts'
import { assertPublished, assertWithdrawn, ports } from './published.ts'

/**
 * As flannel hands it to bridge, with the kubelet's bandwidth behind it.
 * @param mapped what the kubelet asks containerd for, container by container; ctr cannot ask
 */
const conflist = (mapped: boolean): object => ({
  cniVersion: '0.3.1',
  name: 'cbr0',
  plugins: [
    {
      type: 'bridge',
      hairpinMode: true,
      isGateway: true,
      isDefaultGateway: true,
      ipMasq: true,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: dualStack.ipv4 }], [{ subnet: dualStack.ipv6 }]],
        routes: [{ dst: '10.70.0.0/16' }, { dst: 'fd00:70::/48' }],
      },
    },
    {
      type: 'portmap',
      capabilities: { portMappings: true },
      ...(mapped ? { runtimeConfig: { portMappings } } : {}),
    },
    {
      type: 'bandwidth',
      capabilities: { bandwidth: true },
      ...(mapped ? { runtimeConfig: { bandwidth } } : {}),
    },
  ],
})

const portMappings = ['tcp', 'udp'].map(protocol => ({
  hostPort: ports.host,
  containerPort: ports.container,
  protocol,
  hostIP: '',
}))

/** As of the annotations kubernetes.io/ingress-bandwidth and egress-bandwidth: 100M; the burst is the kubelet's. */
const bandwidth = { ingressRate: 1e8, ingressBurst: 2147483647, egressRate: 1e8, egressBurst: 2147483647 }

t.test('a container of containerd publishes a port in both families, limited in its bandwidth', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    await startPeer(host, outside)
    const machine = await Machine.start(host)
    const write = (mapped: boolean) =>
      machine.write('/etc/cni/net.d/10-flannel.conflist', JSON.stringify(conflist(mapped)))
    const containerd = await Containerd.start(machine)
    write(false)
    const neighbour = await containerd.run('neighbour')
    write(true)
    const fresh = remains(machine)
    const first = await containerd.run('first')
    await first.stop()
    const before = remains(machine)

    const own = await containerd.run('own')
    await own.network.serve(ports.container)
    t.equal(host.output(['tc', 'qdisc', 'show']).match(/qdisc tbf .* rate 100Mbit/g)?.length, 2, 'in both directions')
    assertConnected(t, host, own, neighbour)
    assertPublished(t, host, outside, { own: own.network, neighbour: neighbour.network })
    await own.stop()
    await assertWithdrawn(t, host, outside)
    t.same(differences(before.network, remains(machine).network), [], 'it leaves nothing')
    t.same(remains(machine).files, fresh.files)
    write(false)
    await neighbour.stop()
    t.same(remains(machine).files, [])
    await containerd.stop()
  }),
)
