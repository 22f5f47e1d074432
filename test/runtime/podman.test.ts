/** A real Podman with its CNI back end, on the network that it configures itself. */

import t from 'tap'
import { createOutside, startPeer, withHost } from '../harness/index.ts'
import { Machine } from '../harness/machine.ts'
import { assertConnected, assertNothingLeft, dualStack, remains } from './network.ts'
import { Podman } from './podman.ts'

t.test('two containers of Podman talk to each other, the host and the outside, and leave nothing', t =>
  withHost(t, async host => {
    await startPeer(host, createOutside(host))
    const machine = await Machine.start(host)
    const podman = new Podman(machine)
    t.teardown(() => podman.removeControlGroups())
    t.match(podman.createNetwork('podnet', dualStack.ipv4, dualStack.ipv6), '"type": "bridge"')
    const fresh = remains(machine)
    podman.run('zero', 'podnet')
    podman.remove('zero')
    const first = remains(machine)

    const one = podman.run('one', 'podnet')
    const two = podman.run('two', 'podnet')
    assertConnected(t, host, one, two)
    podman.remove('two')
    t.match(one.output(['/bin/ip', 'route']), /default via 10\.70\.0\.1/, 'the other one still has its network')
    podman.remove('one')
    assertNothingLeft(t, fresh, first, remains(machine), ['zero', 'one', 'two'])
  }),
)
