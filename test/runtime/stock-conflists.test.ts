/** Podman with the conflist of its own package, and with the one that it writes: every plugin of the chain is ours. */

import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { createOutside, differences, type Host, startPeer, withHost } from '../harness/index.ts'
import { Machine } from '../harness/machine.ts'
import { kubeadmConflist } from './kubeadm-conflist.ts'
import { assertConnected, dualStack, type Remains, remains } from './network.ts'
import { Podman } from './podman.ts'
import { assertPublished, assertWithdrawn, ports } from './published.ts'

/** What Debian's package of Podman installs: bridge, portmap, firewall, tuning. */
const stock = '/etc/cni/net.d/87-podman-bridge.conflist'

const publish = ['tcp', 'udp'].map(transport => `${ports.host}:${ports.container}/${transport}`)

/** Of containers that came and went beside others: of theirs nothing, of the network what had been there. */
function assertSameRemains(t: Test, before: Remains, after: Remains): void {
  t.same(differences(before.network, after.network), [], 'the host is as before')
  t.same(after.files, before.files, 'and so are the files')
}

async function startPodman(host: Host): Promise<{ machine: Machine; podman: Podman }> {
  const machine = await Machine.start(host)
  return { machine, podman: new Podman(machine) }
}

t.test('a container on the network of Podman’s package publishes a port, and another after it', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    const { machine, podman } = await startPodman(host)
    t.teardown(() => podman.removeControlGroups())
    machine.write(stock, readFileSync(stock, 'utf8'))
    const neighbour = podman.run('neighbour', 'podman')
    let before: Remains | undefined
    for (const name of ['first', 'second']) {
      const own = podman.run(name, 'podman', publish)
      await own.network.serve(ports.container)
      assertPublished(t, host, outside, { own: own.network, neighbour: neighbour.network }, ['ipv4'])
      podman.remove(name)
      await assertWithdrawn(t, host, outside)
      // The first to publish also makes the tables.
      if (before !== undefined) assertSameRemains(t, before, remains(machine))
      before = remains(machine)
    }
    podman.remove('neighbour')
    t.same(remains(machine).files, [])
  }),
)

t.test('a container on a network of both families that Podman has written publishes a port in both', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    await startPeer(host, outside)
    const { machine, podman } = await startPodman(host)
    t.teardown(() => podman.removeControlGroups())
    const written = podman.createNetwork('podnet', dualStack.ipv4, dualStack.ipv6)
    for (const type of ['bridge', 'portmap', 'firewall', 'tuning']) t.match(written, `"type": "${type}"`)
    const one = podman.run('one', 'podnet', publish)
    await one.network.serve(ports.container)
    const two = podman.run('two', 'podnet')
    assertConnected(t, host, one, two)
    assertPublished(t, host, outside, { own: one.network, neighbour: two.network })
    podman.remove('one')
    await assertWithdrawn(t, host, outside)
    podman.remove('two')
    t.same(remains(machine).files, [])
  }),
)

t.test('a container of Podman publishes a port on the network that users of kubeadm get', t =>
  withHost(t, async host => {
    const outside = createOutside(host)
    const { machine, podman } = await startPodman(host)
    t.teardown(() => podman.removeControlGroups())
    machine.write('/etc/cni/net.d/10-flannel.conflist', JSON.stringify(kubeadmConflist()))
    const one = podman.run('one', 'cbr0', publish)
    await one.network.serve(ports.container)
    const two = podman.run('two', 'cbr0')
    assertPublished(t, host, outside, { own: one.network, neighbour: two.network })
    podman.remove('one')
    await assertWithdrawn(t, host, outside)
    podman.remove('two')
    t.same(remains(machine).files, [])
  }),
)
