/** ADDs of overlay networks that do not come to their end: whatever stops them, the host is as it was. */

import t from 'tap'
import {
  type ClusterHost,
  differences,
  goPluginDirectory,
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
  return /"table":"cnikit"/.test(line) || /"(name|table)":"cnikit"/.test(line)
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
      host.output(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
      const network = overlayOn(cluster, host, config?.(host))
      prepare?.(network)
      const container = host.createContainer()
      const before = snapshot(host)
      const namespaces = host.namedNamespaces()
      let steps = 0
      for (;;) {
        const environment = { CNIKIT_FAIL_STEP: String(steps + 1), CNI_PATH: path }
        const attachment = network.attachment({ container, environment })
        const answer = attachment.tryAdd()
        if (answer.status === 0) {
          attachment.del()
          break
        }
        steps++
        t.match(answer.error?.msg, /CNIKIT_FAIL_STEP/, `step ${steps}`)
        t.match(answer.error?.details, /failed in step/)
        t.notMatch(answer.error?.details, /cannot undo/)
        t.same(container.links(), ['lo'], `step ${steps}: the container`)
        t.same(host.namedNamespaces(), namespaces, `step ${steps}: the namespaces`)
        t.same(lasting(before, host), [], `step ${steps}: the host`)
      }
      t.ok(steps > 3, `${steps} steps`)
    }),
  )
}

const later = (milliseconds: number) => new Promise(resolve => setTimeout(resolve, milliseconds))

/** How long an ADD takes here and now. */
function durationOfAdd(network: Network): number {
  const attachment = network.attachment()
  const start = performance.now()
  attachment.add()
  const duration = performance.now() - start
  attachment.del()
  return duration
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
        const child = network.start(attachment.request('ADD'))
        await later(Math.random() * 2 * duration)
        child.signal('SIGKILL')
        if ((await child.ended).signal === 'SIGKILL') killed++
        const del = network.start(attachment.request('DEL'))
        const { status, stdout } = await del.ended
        if (status !== 0) t.fail(stdout)
      }
    }
    await Promise.all(containers.map(container => work(container, runs / 3)))
    t.ok(killed > 0, `${killed} were killed`)
    t.same(lasting(before, host), [])
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
    for (const container of containers) {
      const child = network.start(network.attachment({ container }).request('ADD'))
      await later(Math.random() * 1.5 * duration)
      child.signal('SIGKILL')
      await child.ended
    }
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
    host.output(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
    const network = overlayOn(cluster, host, { controlPlane: staticPeers(cluster) })
    const duration = durationOfAdd(network)
    const containers = host.createContainers(repetitions(20))
    const before = snapshot(host)
    let interrupted = 0
    for (const container of containers) {
      const attachment = network.attachment({ container })
      const child = network.start(attachment.request('ADD'))
      await later(Math.random() * 1.2 * duration)
      child.signal('SIGTERM')
      const { status, stdout } = await child.ended
      if (status === 0) attachment.del()
      else if (stdout.includes('"code": 107')) interrupted++
      t.same(lasting(before, host), [])
    }
    t.comment(`${interrupted} were interrupted`)
  }),
)
