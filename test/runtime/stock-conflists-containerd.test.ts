/** containerd with the conflist that users of kubeadm get: bridge, portmap and bandwidth. */

import t from 'tap'
import { createOutside, differences, startPeer, withHost } from '../harness/index.ts'
import { Machine } from '../harness/machine.ts'
import { Containerd } from './containerd.ts'
import { kubeadmConflist } from './kubeadm-conflist.ts'
import { assertConnected, remains } from './network.ts'
import { assertPublished, assertWithdrawn, ports } from './published.ts'

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
    // The kubelet asks containerd container by container; ctr cannot ask.
    const write = (asked: Readonly<Record<string, object>>) =>
      machine.write('/etc/cni/net.d/10-flannel.conflist', JSON.stringify(kubeadmConflist(asked)))
    const containerd = await Containerd.start(machine)
    write({})
    const neighbour = await containerd.run('neighbour')
    write({ portmap: { portMappings }, bandwidth: { bandwidth } })
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
    write({})
    await neighbour.stop()
    t.same(remains(machine).files, [])
    await containerd.stop()
  }),
)
