/** A real containerd and a real Podman put containers on the network of a host interface. */

import t, { type Test } from 'tap'
import { differences, type Host, until, withHost } from '../harness/index.ts'
import { Machine } from '../harness/machine.ts'
import { createLan, lanAddresses, master } from '../netns/macvlan-fixture.ts'
import { Containerd } from './containerd.ts'
import { addressesOf, type Container, type Remains, remains } from './network.ts'
import { Podman } from './podman.ts'

const conflist = {
  cniVersion: '0.4.0',
  name: 'lannet',
  plugins: [
    {
      type: 'macvlan',
      master,
      hostAccess: true,
      ipam: {
        type: 'host-local',
        ranges: [
          [{ subnet: '10.88.0.0/24', rangeEnd: '10.88.0.199' }],
          [{ subnet: 'fd00:88::/64', rangeEnd: 'fd00:88::199' }],
        ],
        routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
      },
    },
  ],
}

/** Neighbour, network, gateway and host, in both families. */
function assertConnected(t: Test, host: Host, one: Container, two: Container): void {
  const [ours, theirs] = [addressesOf(one), addressesOf(two)]
  for (const family of ['ipv4', 'ipv6'] as const) {
    const pings = (address: string): string => one.output(['/bin/ping', '-c', '1', '-W', '5', address])
    t.not(ours[family], theirs[family], `${family}: every container has its own address`)
    for (const [who, address] of [
      ['the neighbour', theirs[family]],
      ['the gateway', lanAddresses.gateway[family]],
      ['the host', lanAddresses.host[family]],
    ] as const)
      t.match(pings(address), /1 packets received/, `${family}: ${who}`)
    t.ok(host.pings(ours[family]), `${family}: from the host`)
  }
}

/** Files are those of the plugins; the runtimes have their own. A namespace that is gone goes on being cleared up. */
async function assertNothingLeft(t: Test, machine: Machine, before: Remains): Promise<void> {
  const left = () => differences(before.network, remains(machine).network, ['files'])
  await until('the host is as it was', () => left().length === 0, 10).catch(() => {})
  t.same(left(), [], 'they leave nothing')
  t.same(remains(machine).files, [], 'nor a file')
}

t.test('two containers of containerd on the network of an interface of the host', t =>
  withHost(t, async host => {
    await createLan(host)
    const machine = await Machine.start(host)
    machine.write('/etc/cni/net.d/10-lannet.conflist', JSON.stringify(conflist))
    const containerd = await Containerd.start(machine)
    const before = remains(machine)
    const one = await containerd.run('one')
    const two = await containerd.run('two')
    assertConnected(t, host, one, two)
    t.equal((await two.stop()).status, 137)
    await one.stop()
    await assertNothingLeft(t, machine, before)
    await containerd.stop()
  }),
)

t.test('two containers of Podman on the network of an interface of the host', t =>
  withHost(t, async host => {
    await createLan(host)
    const machine = await Machine.start(host)
    const podman = new Podman(machine)
    t.teardown(() => podman.removeControlGroups())
    machine.write('/etc/cni/net.d/10-lannet.conflist', JSON.stringify(conflist))
    const before = remains(machine)
    const [one, two] = [podman.run('one', 'lannet'), podman.run('two', 'lannet')]
    assertConnected(t, host, one, two)
    podman.remove('two')
    t.match(one.output(['/bin/ip', 'route']), /default via 10\.88\.0\.1/, 'the other one still has its network')
    podman.remove('one')
    await assertNothingLeft(t, machine, before)
  }),
)
