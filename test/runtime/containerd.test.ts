/** A real containerd runs containers, and calls the executables for their network. */

import t from 'tap'
import { createOutside, startPeer, withHost } from '../harness/index.ts'
import { Machine } from '../harness/machine.ts'
import { Containerd } from './containerd.ts'
import { assertConnected, assertNothingLeft, dualStack, remains } from './network.ts'

const conflist = {
  cniVersion: '1.0.0',
  name: 'podnet',
  plugins: [
    {
      type: 'bridge',
      bridge: 'br0',
      isDefaultGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: dualStack.ipv4 }], [{ subnet: dualStack.ipv6 }]] },
    },
  ],
}

// ctr asks for DEL without a namespace: behind the Go bridge, masquerade rules stay.
t.test('two containers of containerd talk to each other, the host and the outside, and leave nothing', t =>
  withHost(t, async host => {
    await startPeer(host, createOutside(host))
    const machine = await Machine.start(host)
    machine.write('/etc/cni/net.d/10-podnet.conflist', JSON.stringify(conflist))
    const containerd = await Containerd.start(machine)
    const fresh = remains(machine)
    const zero = await containerd.run('zero')
    t.equal((await zero.stop()).status, 137, 'ctr gives the status of a killed container')
    const first = remains(machine)

    const one = await containerd.run('one')
    const two = await containerd.run('two')
    assertConnected(t, host, one, two)
    await two.stop()
    t.match(one.output(['/bin/ip', 'route']), /default via 10\.70\.0\.1/, 'the other one still has its network')
    await one.stop()
    assertNothingLeft(t, fresh, first, remains(machine), ['zero', 'one', 'two'])
    await containerd.stop()
  }),
)
