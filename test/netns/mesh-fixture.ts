/**
 * A host with published services, built by hand, so that every table of lib/overlay/mesh can be tried without an agent:
 *
 *     outside 198.51.100.2 ─ host 198.51.100.1 ─ "docker_gwbridge" 172.18.0.1
 *                                                   ├─ ingress eth1 172.18.0.2
 *                                                   └─ replicas eth1 172.18.0.11, .12
 *     overlay namespace, "br0" 10.255.0.1
 *        ├─ ingress eth0 10.255.0.2
 *        └─ replicas eth0 10.255.0.11, .12
 */

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { IpAddress } from '../../lib/address/address.ts'
import { type DeclaredTable, keepTable, type TableChange } from '../../lib/firewall/nftables/declared-table.ts'
import type { ServiceMembership } from '../../lib/overlay/agent-protocol.ts'
import { hostTable } from '../../lib/overlay/mesh/host-table.ts'
import { ingressTable } from '../../lib/overlay/mesh/ingress-table.ts'
import { ingressIsolation } from '../../lib/overlay/mesh/isolation-table.ts'
import { publishedPorts } from '../../lib/overlay/mesh/published-port.ts'
import { isolateGatewayBridge } from '../../lib/overlay/peers.ts'
import { type Child, createOutside, type Host, type NetworkNamespace } from '../harness/index.ts'
import { inside, withNetfilter } from './firewall-fixture.ts'
import { address } from './netlink-fixture.ts'

const program = join(dirname(fileURLToPath(import.meta.url)), 'mesh-peer-process.js')

/** The command line of a peer; see mesh-peer-process.ts. */
export const peer = (...words: readonly (string | number)[]): string[] => [
  process.execPath,
  program,
  ...words.map(String),
]

export interface MeshReplica {
  readonly name: string
  readonly namespace: NetworkNamespace
  readonly addresses: readonly IpAddress[]
  readonly localAddresses: readonly IpAddress[]
}

export interface Mesh {
  readonly host: Host
  readonly outside: NetworkNamespace
  readonly ingress: NetworkNamespace
  /** The ingress network's overlay namespace. */
  readonly overlay: NetworkNamespace
  readonly replicas: readonly MeshReplica[]
}

/** Where things are: in the ingress network, and on the gateway bridge. */
const inNetwork = (number: number) => [`10.255.0.${number}`, `fd00:255::${number}`] as const
const onGateway = (number: number) => [`172.18.0.${number}`, `fd00:18::${number}`] as const

export const ingressAddresses = onGateway(2).map(address)
export const balancerAddresses = inNetwork(2).map(address)
/** The ingress namespace, for `ingressTable`. */
export const balancer = {
  outer: 'eth1',
  outerAddresses: ingressAddresses,
  gateways: onGateway(1).map(address),
  inner: 'eth0',
  addresses: balancerAddresses,
} as const

/** Two interfaces as a container of an overlay network has them; the default route leads to the gateway bridge. */
function attach(host: Host, overlay: NetworkNamespace, inside: NetworkNamespace, number: number): void {
  const [network, gateway] = [inNetwork(number), onGateway(number)]
  overlay.ip(`
link add port${number} type veth peer name eth0 netns ${inside.name}
link set port${number} master br0 up`)
  host.ip(`
link add gw${number} type veth peer name eth1 netns ${inside.name}
link set gw${number} master docker_gwbridge up
link set gw${number} type bridge_slave isolated on`)
  inside.ip(`
link set lo up
addr add ${network[0]}/16 dev eth0
addr add ${network[1]}/64 dev eth0 nodad
link set eth0 up
addr add ${gateway[0]}/16 dev eth1
addr add ${gateway[1]}/64 dev eth1 nodad
link set eth1 up
route add default via ${onGateway(1)[0]}
route add ::/0 via ${onGateway(1)[1]}
link show`)
}

/** For interfaces that are made afterwards. */
function withoutDuplicateDetection(place: NetworkNamespace): void {
  place.output(['sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0'])
}

/** Builds it with two replicas, each serving on ports 80 to 82, with its name. */
export async function buildMesh(host: Host): Promise<Mesh> {
  const outside = createOutside(host)
  const overlay = host.createNamespace('overlay')
  const ingress = host.createNamespace('ingress')
  // A router whose link-local address is still tentative asks for nobody, for up to two seconds.
  for (const place of [host, overlay, ingress]) withoutDuplicateDetection(place)
  host.allowForwarding()
  host.ip(`
link add docker_gwbridge type bridge
addr add ${onGateway(1)[0]}/16 dev docker_gwbridge
addr add ${onGateway(1)[1]}/64 dev docker_gwbridge nodad
link set docker_gwbridge up`)
  host.output(['sysctl', '-qw', 'net.ipv4.conf.docker_gwbridge.route_localnet=1'])
  inside(host, () => isolateGatewayBridge('docker_gwbridge'))
  overlay.ip('link add br0 type bridge\nlink set br0 up')
  // As the agent does in every overlay namespace: bridged frames are no business of its IP rules.
  const filtering = ['iptables', 'ip6tables', 'arptables'].map(name => `net.bridge.bridge-nf-call-${name}=0`)
  overlay.execute(['sysctl', '-qw', ...filtering])
  attach(host, overlay, ingress, 2)
  // The only port of the gateway bridge that reaches the others.
  host.ip('link set gw2 type bridge_slave isolated off')
  ingress.allowForwarding()
  const replicas: MeshReplica[] = []
  for (const number of [11, 12]) {
    const namespace = host.createContainer()
    withoutDuplicateDetection(namespace)
    attach(host, overlay, namespace, number)
    await startServer(host, namespace, `replica${number}`)
    replicas.push({
      name: `replica${number}`,
      namespace,
      addresses: inNetwork(number).map(address),
      localAddresses: onGateway(number).map(address),
    })
  }
  return { host, outside, ingress, overlay, replicas }
}

/** A server that answers with its name, on ports 80 to 82. */
export async function startServer(host: Host, inside: NetworkNamespace, name: string): Promise<Child> {
  const child = host.start(peer('serve', name, 80, 81, 82), { inside })
  await child.says(/listening/)
  return child
}

/** Makes a namespace's table equal to the declared one. */
export function keep(namespace: NetworkNamespace, table: DeclaredTable): TableChange {
  return withNetfilter(namespace, socket => keepTable(socket, table))
}

/** Connections after which a random choice between two replicas has left none of them out, but for once in 2^31. */
export const ENOUGH = 32

/** Answers to so many connections, one after the other. */
export function answers(
  from: NetworkNamespace,
  transport: 'tcp' | 'udp',
  address: string,
  port: number,
  options: { count?: number; source?: string } = {},
): string[] {
  const { count = 1, source } = options
  const argv = peer('ask', transport, address, port, count, ...(source === undefined ? [] : [source]))
  return from.output(argv, { timeoutMs: 120_000 }).trim().split('\n')
}

/** Whether a connection is neither answered nor refused. */
export function isSilent(
  from: NetworkNamespace,
  transport: 'tcp' | 'udp',
  address: string,
  port: number,
  source?: string,
): boolean {
  const argv = peer('ask', transport, address, port, 1, ...(source === undefined ? [] : [source]))
  return from.output(argv, { environment: { PATIENCE_MS: '500' } }).trim() === 'silence'
}

/** A service that leads to port 80, published on 8080 for TCP and UDP unless told otherwise. */
export function service(options: Partial<ServiceMembership> & { mode?: 'mesh' | 'local' } = {}): ServiceMembership {
  const { mode = 'mesh', ...rest } = options
  return {
    name: 'web',
    affinity: 'none',
    ports: (['tcp', 'udp'] as const).map(protocol => ({ published: 8080, target: 80, protocol, mode })),
    ...rest,
  }
}

/** Publishes the services of these replicas in every table. */
export function publish(
  mesh: Mesh,
  services: readonly ServiceMembership[],
  replicas: readonly MeshReplica[] = mesh.replicas,
): void {
  const { ports } = publishedPorts(replicas.map(replica => ({ ...replica, services })))
  keep(mesh.host, hostTable({ gateway: 'docker_gwbridge', ingress: ingressAddresses, ports }))
  keep(mesh.ingress, ingressTable({ ...balancer, ports }))
  isolate(mesh, services, replicas)
}

/** Lets only these replicas be reached over the ingress network. */
export function isolate(mesh: Mesh, services: readonly ServiceMembership[], replicas: readonly MeshReplica[]): void {
  const { ports } = publishedPorts(replicas.map(replica => ({ ...replica, services })))
  keep(mesh.overlay, ingressIsolation({ trusted: ['vxlan0', 'port2'], loadBalancers: balancerAddresses, ports }))
}

/** Which replicas answered, and what they saw as the client's address. */
export function told(lines: readonly string[]): { replicas: string[]; clients: string[] } {
  const words = lines.map(line => line.split(' '))
  const distinct = (index: number) => [...new Set(words.map(line => line[index] ?? ''))].sort()
  return { replicas: distinct(0), clients: distinct(1) }
}

/** The two replicas. */
export function pair({ replicas: [one, two] }: Mesh): [MeshReplica, MeshReplica] {
  if (one === undefined || two === undefined) throw new Error('two replicas were made')
  return [one, two]
}
