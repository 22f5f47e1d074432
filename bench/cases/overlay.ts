/** Overlay networks: ADD and DEL beside those of bridge, and traffic beside that through a VXLAN device and nothing else. */

import { join } from 'node:path'
import {
  type Attachment,
  type Cluster,
  type ClusterHost,
  hostLocal,
  Network,
  type NetworkNamespace,
  pluginDirectory,
  repositoryRoot,
} from '../../test/harness/index.ts'
import type { Case, Row } from '../case.ts'
import { onCluster } from '../cluster.ts'
import type { AttachmentSamples, OverlayTimings } from '../overlay-attachments.ts'

const plane = (cluster: Cluster) => ({ type: 'static', peers: cluster.hosts.map(({ underlay }) => underlay.ipv4) })

function overlayConfig(cluster: Cluster, host: ClusterHost, more: object = {}) {
  const [first, last] = [`10.1.${host.number}.0`, `10.1.${host.number}.255`]
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.1.0.0/16', rangeStart: first, rangeEnd: last }]] }
  return { cniVersion: '1.1.0', name: 'web', type: 'overlay', vni: 4097, controlPlane: plane(cluster), ipam, ...more }
}

function bridgeConfig(host: ClusterHost, name: string, ipMasq: boolean) {
  const ipam = hostLocal(host, '10.77.0.0/16')
  return { cniVersion: '1.1.0', name, type: 'bridge', bridge: name, isDefaultGateway: true, ipMasq, ipam }
}

/** Attachments of networks that have a container on the host already. */
function attachments(cluster: Cluster, runs: number): Row[] {
  const host = cluster.host(1)
  const configs = [
    bridgeConfig(host, 'masqueraded', true),
    overlayConfig(cluster, host),
    bridgeConfig(host, 'plain', false),
    overlayConfig(cluster, host, { name: 'inner', vni: 4098, internal: true }),
  ]
  for (const config of configs) new Network(host, config).attach()
  const timings: OverlayTimings = {
    runs,
    plugins: pluginDirectory,
    directory: join(host.directory, 'bench'),
    netns: host.createContainer().path,
    configs,
  }
  const program = join(repositoryRoot, 'dist/node/bench/overlay-attachments.js')
  const text = host.output([process.execPath, program, JSON.stringify(timings)], { timeoutMs: 600_000 })
  const [masqueraded, web, plain, inner] = JSON.parse(text) as AttachmentSamples[]
  if (!masqueraded || !web || !plain || !inner) throw new Error(`four networks were measured: ${text}`)
  const row = (what: string, verb: 'ADD' | 'DEL', ours: AttachmentSamples, base: AttachmentSamples): Row => {
    const key = verb === 'ADD' ? 'add' : 'del'
    const target = verb === 'ADD' ? { target: 'at most 3' } : {}
    return {
      what: `overlay ${verb}, ${what}`,
      unit: 'ms',
      go: [],
      ours: ours[key],
      base: { name: `bridge ${verb}`, samples: base[key] },
      ...target,
    }
  }
  return [
    row('with the way out, masquerade', 'ADD', web, masqueraded),
    row('with the way out, masquerade', 'DEL', web, masqueraded),
    row('internal', 'ADD', inner, plain),
    row('internal', 'DEL', inner, plain),
  ]
}

/** A way from the first container to the second. */
interface Way {
  readonly name: string
  /** The second container's address on it. */
  readonly address: string
}

/** A VXLAN device in each of the two containers: the least that the kernel can do. */
function bareVxlan(cluster: Cluster, containers: readonly NetworkNamespace[]): Way {
  for (const [index, container] of containers.entries()) {
    const [own, other] = [cluster.host(index + 1), cluster.host(2 - index)]
    const { ipv4: local } = own.underlay
    own.ip(`link add bare mtu 1450 type vxlan id 99 dstport 4790 local ${local} remote ${other.underlay.ipv4} nolearning
link set bare netns ${container.name}`)
    container.ip(`addr add 10.99.0.${index + 1}/24 dev bare\nlink set bare up`)
  }
  return { name: 'a bare VXLAN device', address: '10.99.0.2' }
}

/** As Docker builds it: learning, proxy, l2miss and l3miss, no pinned address, an entry and a neighbour for each container. */
function dockerOverlay(cluster: Cluster, containers: readonly NetworkNamespace[]): Way {
  const macs = containers.map((_, index) => `02:42:0a:62:00:0${index + 1}`)
  for (const [index, container] of containers.entries()) {
    const [own, other] = [cluster.host(index + 1), 1 - index]
    const sandbox = own.createNamespace('sandbox')
    own.ip(`link add vxlan-d mtu 1450 type vxlan id 98 dstport 4791 learning proxy l2miss l3miss
link set vxlan-d netns ${sandbox.name}`)
    sandbox.ip(`link add br0 type bridge
link set vxlan-d name vxlan0 master br0
link add veth0 mtu 1450 type veth peer name docker0 mtu 1450 address ${macs[index]} netns ${container.name}
link set veth0 master br0
link set veth0 up
link set vxlan0 up
link set br0 up
neigh add 10.98.0.${other + 1} lladdr ${macs[other]} dev vxlan0 nud permanent`)
    sandbox.output([
      'bridge',
      'fdb',
      'add',
      `${macs[other]}`,
      'dev',
      'vxlan0',
      'dst',
      cluster.host(other + 1).underlay.ipv4,
      'self',
      'permanent',
    ])
    container.ip(`addr add 10.98.0.${index + 1}/24 dev docker0\nlink set docker0 up`)
  }
  return { name: 'an overlay as Docker builds it', address: '10.98.0.2' }
}

const SECONDS = 1

/** Gigabits a second of one TCP connection. */
async function throughput(cluster: Cluster, [from, to]: readonly NetworkNamespace[], address: string): Promise<number> {
  if (from === undefined || to === undefined) throw new Error('there are two containers')
  const server = cluster.underlay.start(['iperf3', '-s', '-1', '--forceflush', '-B', address], { inside: to })
  try {
    await server.says(/listening/)
    const client = from.output(['iperf3', '-J', '-t', String(SECONDS), '-c', address], { timeoutMs: 60_000 })
    return JSON.parse(client).end.sum_received.bits_per_second / 1e9
  } finally {
    await server.stop('SIGKILL')
  }
}

/** Microseconds of a round trip, the mean of many one behind the other. */
function roundTrip([from]: readonly NetworkNamespace[], address: string): number {
  const text = from?.output(['ping', '-n', '-q', '-f', '-c', '2000', address], { timeoutMs: 60_000 }) ?? ''
  const [, mean] = /rtt min\/avg\/max\/mdev = [\d.]+\/([\d.]+)\//.exec(text) ?? []
  return Number(mean) * 1000
}

async function traffic(cluster: Cluster, runs: number): Promise<Row[]> {
  const made: Attachment[] = cluster.hosts.map(host => new Network(host, overlayConfig(cluster, host)).attach())
  const containers = made.map(({ container }) => container)
  const ways = [bareVxlan(cluster, containers), dockerOverlay(cluster, containers)]
  ways.push({ name: 'cnikit', address: made[1]?.address ?? '' })
  const samples = ways.map(way => ({ ...way, rates: [] as number[], trips: [] as number[] }))
  for (const { address } of samples) roundTrip(containers, address)
  for (let run = 0; run < runs; run++) {
    for (const way of run % 2 === 0 ? samples : samples.toReversed()) {
      way.rates.push(await throughput(cluster, containers, way.address))
      way.trips.push(roundTrip(containers, way.address))
    }
  }
  const [bare, docker, ours] = samples
  if (bare === undefined || docker === undefined || ours === undefined) throw new Error('three ways were measured')
  const base = { name: bare.name }
  const rate = (what: string, { rates }: typeof bare): Row => ({
    what,
    unit: 'Gbit/s',
    go: [],
    ours: rates,
    base: { ...base, samples: bare.rates },
  })
  const trip = (what: string, { trips }: typeof bare): Row => ({
    what,
    unit: 'µs',
    go: [],
    ours: trips,
    base: { ...base, samples: bare.trips },
  })
  return [
    { ...rate('TCP over the overlay, one connection', ours), target: 'at least 0.97' },
    rate('the same over one built as Docker builds it', docker),
    { ...trip('round trip over the overlay', ours), target: 'at most 1.03' },
    trip('the same over one built as Docker builds it', docker),
  ]
}

export const overlay: Case = {
  name: 'overlay',
  run: (_, runs) => onCluster(2, cluster => attachments(cluster, runs)),
}

export const overlayTraffic: Case = {
  name: 'overlay-traffic',
  run: (_, runs) => onCluster(2, cluster => traffic(cluster, runs)),
}
