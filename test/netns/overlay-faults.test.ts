/** ADDs of overlay networks that do not come to their end: whatever stops them, the host is as it was. */

import t from 'tap'
import {
  type ClusterHost,
  differences,
  durationOfAdd,
  failEveryStep,
  goPluginDirectory,
  interruptedAdd,
  leftByKilledAdds,
  type Network,
  pluginDirectory,
  repetitions,
  snapshot,
  withCluster,
} from '../harness/index.ts'
import { overlayOn, ownRanges, staticPeers } from './overlay-fixture.ts'

/** The tables of the firewall without anything of a container in them: they stay for the next one. */
function isEmptyTable(line: string): boolean {
  if (!line.startsWith('+ nftables ') || line.includes('"elem"')) return false
  return /"(name|table)":"cnikit"/.test(line)
}

/** What a host may keep: empty tables. */
const lasting = (before: ReturnType<typeof snapshot>, host: ClusterHost): string[] =>
  differences(before, snapshot(host)).filter(line => !isEmptyTable(line))

interface Situation {
  readonly config?: (host: ClusterHost) => object
  readonly prepare?: (network: Network) => void
  /** CNI_PATH. */
  readonly path?: string
}

const situations: Readonly<Record<string, Situation>> = {
  'the first container of a host': {},
  'a second container': { prepare: network => network.attach() },
  'the first container of a network on a host that has others': {
    prepare: network => network.with({ name: 'other', vni: 5000 }).attach(),
  },
  'an internal network': { config: () => ({ internal: true }) },
  'a multicast group': {
    config: () => ({ controlPlane: { type: 'multicast', group: '239.1.1.1', interface: 'uplink' } }),
  },
  'an address plugin that is a program of its own': {
    config: host => ({ cniVersion: '1.0.0', ipam: ownRanges(host, 1, [4]) }),
    path: goPluginDirectory,
  },
}
for (const [name, { config, prepare, path = pluginDirectory }] of Object.entries(situations)) {
  t.test(`every step of ADD is undone: ${name}`, t =>
    withCluster(t, { hosts: 1 }, cluster => {
      const host = cluster.host(1)
      host.allowForwarding()
      const network = overlayOn(cluster, host, config?.(host))
      prepare?.(network)
      const container = host.createContainer()
      const before = snapshot(host)
      const namespaces = host.namedNamespaces()
      const options = { container, environment: { CNI_PATH: path } }
      const { steps, attachment } = failEveryStep(t, network, options, claim => {
        t.same(host.namedNamespaces(), namespaces, `${claim}: the namespaces`)
        t.same(lasting(before, host), [], `${claim}: the host`)
      })
      attachment.del()
      t.ok(steps > 3, `${steps} steps`)
    }),
  )
}

const runs = repetitions(60)
t.test(`kill -9 at random moments of ${runs} ADDs, each followed by DEL, leaves nothing`, t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    network.attach().del()
    const duration = durationOfAdd(network)
    const containers = host.createContainers(3)
    const before = snapshot(host)
    let killed = 0
    const work = async (container: ReturnType<ClusterHost['createContainer']>, count: number) => {
      for (let run = 0; run < count; run++) {
        const attachment = network.attachment({ container })
        const { signal } = await interruptedAdd(attachment, 'SIGKILL', 2 * duration)
        if (signal === 'SIGKILL') killed++
        const { status, stdout } = await network.start(attachment.request('DEL')).ended
        if (status !== 0) t.fail(stdout)
      }
    }
    await Promise.all(containers.map(container => work(container, runs / 3)))
    t.ok(killed > 0, `${killed} were killed`)
    t.same(
      leftByKilledAdds(network, before).filter(line => !isEmptyTable(line)),
      [],
    )
    t.same(host.namedNamespaces(), [])
    // The network can be made again after whatever was left in between.
    const attachment = network.attach()
    t.equal(attachment.check().status, 0)
    t.ok(attachment.container.pings(cluster.outside.underlay.ipv4))
    attachment.del()
  }),
)

t.test('kill -9 without a DEL, and GC afterwards, leaves nothing', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    const network = overlayOn(cluster, host)
    network.attach().del()
    const duration = durationOfAdd(network)
    const containers = host.createContainers(repetitions(15))
    const before = snapshot(host)
    for (const container of containers)
      await interruptedAdd(network.attachment({ container }), 'SIGKILL', 1.5 * duration)
    network.gc([])
    t.same(
      differences(before, snapshot(host)).filter(line => !/^[-+] nftables .*"cnikit"/.test(line)),
      [],
    )
    t.same(host.namedNamespaces(), [])
  }),
)

t.test('SIGTERM undoes what ADD has done', t =>
  withCluster(t, { hosts: 1 }, async cluster => {
    const host = cluster.host(1)
    host.allowForwarding()
    const network = overlayOn(cluster, host, { controlPlane: staticPeers(cluster) })
    const duration = durationOfAdd(network)
    const containers = host.createContainers(repetitions(20))
    const before = snapshot(host)
    let interrupted = 0
    for (const container of containers) {
      const attachment = network.attachment({ container })
      const { status, stdout } = await interruptedAdd(attachment, 'SIGTERM', 1.2 * duration)
      if (status === 0) attachment.del()
      else if (stdout.includes('"code": 107')) interrupted++
      t.same(lasting(before, host), [])
    }
    t.comment(`${interrupted} were interrupted`)
  }),
)
