/** macvlan's ADD that does not come to its end, and many at once: the host and the container are as they were. */

import t, { type Test } from 'tap'
import {
  assertUndoneBySignals,
  differences,
  durationOfAdd,
  failEveryStep,
  goPluginDirectory,
  type Host,
  interruptedAdd,
  leftByKilledAdds,
  type NetworkNamespace,
  snapshot,
  withHost,
} from '../harness/index.ts'
import { createLan, lanAddresses, lanAddressing, macvlanNetwork, master } from './macvlan-fixture.ts'

const situations: Readonly<Record<string, (host: Host) => object>> = {
  'dual stack': () => ({}),
  'an address plugin that is a program of its own': host => ({
    cniVersion: '1.0.0',
    ipam: lanAddressing(host, 'ipv4'),
    environment: { CNI_PATH: goPluginDirectory },
  }),
  passthru: () => ({ mode: 'passthru', mac: '02:00:00:00:00:08' }),
  'layer 2': () => ({ ipam: undefined }),
  'host access': () => ({ hostAccess: true }),
}

for (const [situation, keys] of Object.entries(situations))
  t.test(`a failure at any step of ADD leaves nothing: ${situation}`, t =>
    withHost(t, async host => {
      await createLan(host)
      const { environment = {}, ...config } = keys(host) as { environment?: Record<string, string> }
      const network = macvlanNetwork(host, config)
      const container = host.createContainer()
      const before = [snapshot(host), snapshot(container)] as const
      const { steps, attachment } = failEveryStep(t, network, { container, environment }, claim => {
        t.same(differences(before[1], snapshot(container)), [], `${claim}: the container`)
        t.same(differences(before[0], snapshot(host)), [], `${claim}: the host`)
      })
      t.equal(attachment.check().stdout, '', 'without a failure ADD is complete')
      attachment.del()
      t.ok(steps >= 2, `${steps} steps were made to fail`)
      t.same(differences(before[0], snapshot(host)), [], 'and so does DEL')
    }),
  )

/** The same with a container that stays: what is shared is left to it. */
t.test('a failure at any step of ADD leaves the host access of others alone', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const first = network.attach()
    const container = host.createContainer()
    const before = snapshot(host)
    failEveryStep(t, network, { container }, claim => {
      t.same(differences(before, snapshot(host)), [], claim)
      t.equal(first.check().stdout, '')
    })
    for (const address of first.addresses) t.ok(host.pings(address))
  }),
)

function assertSame(t: Test, container: NetworkNamespace, claim: string): void {
  if (container.links().join() !== 'lo') t.fail(`${claim} left ${container.links().join()}`)
}

t.test('kill -9 at random moments of 60 ADDs, each followed by DEL, leaves nothing', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { hostAccess: true })
    const duration = durationOfAdd(network)
    const before = snapshot(host)
    let killed = 0
    await Promise.all(
      host.createContainers(3).map(async (container, worker) => {
        for (let run = 0; run < 20; run++) {
          const attachment = network.attachment({ container, containerId: `killed-${worker}-${run}` })
          const { signal } = await interruptedAdd(attachment, 'SIGKILL', 2.5 * duration)
          if (signal === 'SIGKILL') killed++
          const { status, stdout } = await network.start(attachment.request('DEL')).ended
          if (status !== 0) t.fail(`DEL of run ${run}: ${stdout}`)
          assertSame(t, container, `run ${run}`)
        }
      }),
    )
    t.comment(`${killed} of 60 were killed before their end`)
    t.ok(killed > 0)
    t.same(leftByKilledAdds(network, before), [], 'the host is as it was')
  }),
)

t.test('SIGTERM, SIGINT or SIGHUP at random moments: either a complete ADD or nothing', t =>
  withHost(t, async host => {
    await createLan(host)
    await assertUndoneBySignals(t, macvlanNetwork(host, { hostAccess: true }), 24)
  }),
)

t.test('20 containers at once on one master: all different, all reachable, and gone without a trace', t =>
  withHost(t, async host => {
    const lan = await createLan(host)
    const before = snapshot(host)
    const network = macvlanNetwork(host)
    const attached = await network.attachAtOnce(20)
    t.equal(new Set(attached.flatMap(({ addresses }) => addresses)).size, 40)
    t.equal(new Set(attached.map(({ result }) => result.interfaces?.[0]?.mac)).size, 20)
    t.same(
      attached.filter(({ address }) => !lan.pings(address)).map(({ address }) => address),
      [],
    )
    t.ok(attached.every(({ container }) => container.pings(lanAddresses.gateway.ipv6)))
    t.same(await network.detachAtOnce(attached), [])
    t.same(differences(before, snapshot(host)), [])
    t.ok(attached.every(({ container }) => container.links().join() === 'lo'))
  }),
)

t.test('of 10 that want the master for themselves at once, one gets it', t =>
  withHost(t, async host => {
    await createLan(host)
    const network = macvlanNetwork(host, { mode: 'passthru' })
    const children = host.createContainers(10).map((container, index) => {
      const attachment = network.attachment({ container, containerId: `wants-${index}` })
      return { container, ended: network.start(attachment.request('ADD')).ended }
    })
    const statuses = await Promise.all(children.map(async ({ ended }) => (await ended).status))
    t.equal(statuses.filter(status => status === 0).length, 1)
    const with0 = children.filter(({ container }) => container.links().includes('eth0'))
    t.equal(with0.length, 1, 'the others have nothing')
    t.ok(host.links().includes(master))
  }),
)
