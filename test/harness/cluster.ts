/**
 * Several hosts on one underlay network, for what crosses hosts. The underlay is a namespace with a bridge; each host has
 * a network namespace, and a mount namespace with /run and /var/lib of its own; containers belong to one host:
 *
 *     underlay (bridge "underlay0")
 *        ├── host 1, "uplink" 192.0.2.1, 2001:db8:2::1 ── its containers
 *        ├── host 2, "uplink" 192.0.2.2, 2001:db8:2::2 ── its containers
 *        └── outside 192.0.2.200, 2001:db8:2::c8: a client that belongs to no cluster
 *
 * All of it ends with the test's withHost(): processes by their ids, and with the last process of a host its mounts and
 * the namespaces that plugins made there.
 */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Child, ChildOptions } from './children.ts'
import { output } from './execute.ts'
import { Host, withHost } from './host.ts'
import { NetworkNamespace } from './namespace.ts'

/** The underlay addresses of a host, an outsider or an etcd member. */
export interface UnderlayAddresses {
  readonly ipv4: string
  readonly ipv6: string
}

/** A namespace on the underlay that is no host of the cluster: an outsider, or a place for etcd. */
export class Station extends NetworkNamespace {
  readonly underlay: UnderlayAddresses

  constructor(name: string, underlay: UnderlayAddresses) {
    super(name)
    this.underlay = underlay
  }
}

/** A host of the cluster: everything run in it sees its own network, /run and /var/lib. */
export class ClusterHost extends Host {
  /** From 1. */
  readonly number: number
  readonly underlay: UnderlayAddresses
  readonly #switch: Host
  readonly #mounts: string

  /** @param mounts path of its mount namespace */
  constructor(name: string, directory: string, place: { number: number; under: Host; mounts: string }) {
    super(name, directory)
    this.number = place.number
    this.underlay = addressesOf(place.number)
    this.#switch = place.under
    this.#mounts = place.mounts
  }

  /** Its /run, as the test sees it. */
  get runDirectory(): string {
    return join(this.directory, 'run')
  }

  /** Its /var/lib, as the test sees it. */
  get stateDirectory(): string {
    return join(this.directory, 'var-lib')
  }

  override enter(argv: readonly string[]): string[] {
    return ['/usr/bin/nsenter', `--mount=${this.#mounts}`, `--net=${this.path}`, ...argv]
  }

  /** Containers at /run/netns/<name>, both on this host and for the test; for no other host. */
  override createContainers(count: number, kind = 'container'): NetworkNamespace[] {
    const made = this.#switch.createContainers(count, kind)
    const bind = 'for name; do touch "/run/netns/$name"; mount --bind "$0/$name" "/run/netns/$name"; done'
    this.output(['sh', '-ec', bind, join(this.directory, 'namespaces'), ...made.map(({ name }) => name)])
    return made
  }

  /** Ends a container's namespace, as a runtime does that ends it before DEL. */
  deleteContainer({ name }: NetworkNamespace): void {
    this.output(['ip', 'netns', 'delete', name])
    output(['ip', 'netns', 'delete', name])
  }

  override startOutside(argv: readonly string[], options: ChildOptions = {}): Child {
    return this.#switch.startOutside(argv, options)
  }

  /** A namespace that something on this host has named, as the overlay's: for looking inside. */
  named(name: string): NamedNamespace {
    return new NamedNamespace(this, name)
  }

  /** Names below its /run/netns, those of the test's containers left out. */
  namedNamespaces(): string[] {
    const names = this.output(['sh', '-c', 'ls /run/netns 2>/dev/null || true']).split('\n').filter(Boolean)
    return names.filter(name => !name.startsWith('cnikit-')).toSorted()
  }

  /** Pulls its plug in the underlay. */
  disconnect(): void {
    this.#switch.ip(`link set ${portName(this.number)} down`)
  }

  reconnect(): void {
    this.#switch.ip(`link set ${portName(this.number)} up`)
  }
}

/** A namespace with a name on one host of the cluster alone. */
export class NamedNamespace extends NetworkNamespace {
  readonly #host: ClusterHost

  constructor(host: ClusterHost, name: string) {
    super(name)
    this.#host = host
  }

  override enter(argv: readonly string[]): string[] {
    // Two steps: the path means something once the host's mounts are there.
    return this.#host.enter(['/usr/bin/nsenter', `--net=${this.path}`, ...argv])
  }

  override ip(commands: string): void {
    this.output(['ip', '-batch', '-'], { input: `${commands.trim()}\n` })
  }

  override show<T>(...words: readonly string[]): T {
    const text = this.output(['ip', '-j', '-d', ...words])
    return JSON.parse(text.trim() === '' ? '[]' : text) as T
  }
}

export interface ClusterOptions {
  /** How many hosts. Default 2. */
  readonly hosts?: number
  /** MTU of the underlay. Default 1500. */
  readonly mtu?: number
}

export class Cluster {
  /** The namespace with the underlay's bridge. */
  readonly underlay: Host
  readonly hosts: readonly ClusterHost[]
  /** A client that belongs to no cluster. The hosts' default routes lead to it. */
  readonly outside: Station
  readonly #mtu: number
  #stations = FIRST_STATION

  private constructor(underlay: Host, hosts: readonly ClusterHost[], mtu: number) {
    this.underlay = underlay
    this.hosts = hosts
    this.#mtu = mtu
    this.outside = this.connect('outside')
  }

  /** Builds a cluster on a test's host, whose namespace becomes the underlay. Ends with it. */
  static async start(underlay: Host, { hosts: count = 2, mtu = 1500 }: ClusterOptions = {}): Promise<Cluster> {
    // VXLAN from the multicast group reaches every host, as through a switch that does not look into IGMP.
    underlay.ip(`link add underlay0 mtu ${mtu} type bridge mcast_snooping 0\nlink set underlay0 up`)
    const namespaces = underlay.createContainers(count, 'node')
    const hosts: ClusterHost[] = []
    for (const [index, namespace] of namespaces.entries()) {
      plugIn(underlay, namespace, index + 1, mtu)
      hosts.push(await startHost(underlay, namespace, index + 1))
    }
    return new Cluster(underlay, hosts, mtu)
  }

  /** The host of that number, from 1. */
  host(number: number): ClusterHost {
    const host = this.hosts[number - 1]
    if (host === undefined) throw new RangeError(`the cluster has ${this.hosts.length} hosts, none is number ${number}`)
    return host
  }

  /** One more namespace on the underlay that is no host. */
  connect(kind: string): Station {
    const number = this.#stations++
    const { name } = this.underlay.createNamespace(kind)
    const station = new Station(name, addressesOf(number))
    plugIn(this.underlay, station, number, this.#mtu)
    return station
  }
}

/** Hosts count from 1, everybody else from here; the first is the outside. */
const FIRST_STATION = 200

const portName = (number: number): string => `port${number}`
const addressesOf = (number: number): UnderlayAddresses => ({
  ipv4: `192.0.2.${number}`,
  ipv6: `2001:db8:2::${number.toString(16)}`,
})

/** Links a namespace to the underlay and gives it its addresses; no address is tentative, and every link has carrier. */
function plugIn(underlay: Host, namespace: NetworkNamespace, number: number, mtu: number): void {
  const { ipv4, ipv6 } = addressesOf(number)
  const port = portName(number)
  underlay.ip(`
link add ${port} mtu ${mtu} type veth peer name uplink mtu ${mtu} netns ${namespace.name}
link set ${port} master underlay0 addrgenmode none
link set ${port} up`)
  const gateway = addressesOf(FIRST_STATION)
  const routes =
    number === FIRST_STATION ? '' : `route add default via ${gateway.ipv4}\nroute add ::/0 via ${gateway.ipv6}`
  namespace.ip(`
link set lo up
link set uplink addrgenmode none
addr add ${ipv4}/24 dev uplink
addr add ${ipv6}/64 dev uplink nodad
addr add fe80::${number.toString(16)}/64 dev uplink nodad
link set uplink up
${routes}
link show dev uplink`)
  underlay.ip(`link show dev ${port}`)
}

/** Runs as the process that holds a host's mounts. $1 is the host's directory. */
const holdMounts = `set -e
mount --rbind /run/netns "$1/namespaces"
mount --bind "$1/var-lib" /var/lib
mount --bind "$1/run" /run
echo host is up
exec sleep infinity`

async function startHost(underlay: Host, namespace: NetworkNamespace, number: number): Promise<ClusterHost> {
  const directory = join(underlay.directory, `host-${number}`)
  for (const name of ['namespaces', 'var-lib', 'run/netns', 'run/lock'])
    mkdirSync(join(directory, name), { recursive: true })
  // Slaves: namespaces that the test makes later appear in "namespaces", and nothing mounted here appears elsewhere.
  const isolate = ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', holdMounts, 'hold-mounts', directory]
  const holder = underlay.start(isolate, { inside: namespace })
  await holder.says(/host is up/)
  return new ClusterHost(namespace.name, directory, {
    number,
    under: underlay,
    mounts: `/proc/${holder.pid}/ns/mnt`,
  })
}

/** Gives the test a cluster, removes it however the test ends, and fails the test when something is left behind. */
export async function withCluster(
  t: Test,
  options: ClusterOptions,
  use: (cluster: Cluster) => void | Promise<void>,
): Promise<void> {
  await withHost(t, async underlay => use(await Cluster.start(underlay, options)))
}
