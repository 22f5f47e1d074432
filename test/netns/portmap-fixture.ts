/** Containers on a bridge of a host with an outside, and ports of the host that lead to them. */

import {
  type Answer,
  type Attachment,
  type AttachmentOptions,
  type Child,
  createOutside,
  type Host,
  hostLocal,
  Network,
  type NetworkNamespace,
  outsideAddresses,
  type Place,
  subnets,
} from '../harness/index.ts'
import { peer } from './mesh-fixture.ts'

export interface Mapping {
  readonly hostPort: number
  readonly containerPort: number
  readonly protocol?: string
  readonly hostIP?: string
}

/** So many neighbouring ports that lead to the same ports, or to others. */
export function portRange(first: number, count: number, keys: Partial<Mapping> = {}): Mapping[] {
  const { containerPort = first, ...rest } = keys
  return Array.from({ length: count }, (_, index) => ({
    hostPort: first + index,
    containerPort: containerPort + index,
    ...rest,
  }))
}

/** The host's addresses towards the outside, on the bridge, and of itself. */
export const hostAddresses = {
  uplink: outsideAddresses.host,
  bridge: { ipv4: '10.88.0.1', ipv6: 'fd00:88::1' },
  localhost: { ipv4: '127.0.0.1', ipv6: '::1' },
} as const

/** A container on the bridge. */
export interface Published {
  /** Of the bridge plugin. */
  readonly bridge: Attachment
  /** Of the portmap plugin. */
  readonly ports: Attachment
}

export class PublishingHost {
  readonly host: Host
  readonly outside: NetworkNamespace
  readonly network: Network
  readonly ports: Network

  /**
   * @param keys of portmap's configuration
   * @param options.bridged bridged packets go through the host's IP rules (br_netfilter), as Kubernetes and Docker want
   *   it. What a container sends to itself by way of the host then needs the bridge's hairpin mode.
   */
  constructor(host: Host, keys: object = {}, { bridged = false } = {}) {
    this.host = host
    this.outside = createOutside(host)
    // Addresses and the bridge answer at once.
    host.output(['sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0'])
    host.allowForwarding()
    // A kernel without br_netfilter has none of them.
    const filtering = ['iptables', 'ip6tables'].map(name => `net.bridge.bridge-nf-call-${name}=${bridged ? 1 : 0}`)
    host.execute(['sysctl', '-qw', ...filtering])
    this.network = new Network(host, { hairpinMode: bridged, ipam: hostLocal(host, subnets.ipv4, subnets.ipv6) })
    this.ports = new Network(host, {
      type: 'portmap',
      ipam: undefined,
      bridge: undefined,
      isDefaultGateway: undefined,
      ...keys,
    })
  }

  /** A container whose portmap ADD has yet to be run. */
  prepare(mappings: readonly Mapping[], options: AttachmentOptions = {}): Published {
    const bridge = this.network.attach(options)
    return { bridge, ports: this.publishing(bridge, mappings) }
  }

  /** The portmap attachment of one of the bridge plugin's. @param network of portmap's, when it is not the usual one */
  publishing(bridge: Attachment, mappings: readonly Mapping[], network = this.ports, config: object = {}): Attachment {
    const { containerId, container, ifname } = bridge
    return network.attachment({
      containerId,
      container,
      ifname,
      config: { prevResult: bridge.result, runtimeConfig: { portMappings: mappings }, ...config },
    })
  }

  /** A container that has its ports. */
  publish(mappings: readonly Mapping[], options: AttachmentOptions = {}): Published {
    const published = this.prepare(mappings, options)
    published.ports.add()
    return published
  }

  /** Answers "<name> <address it came from>" on the ports of a container, TCP and UDP. */
  async serve(inside: NetworkNamespace, name: string, ...ports: readonly number[]): Promise<Child> {
    const child = this.host.start(peer('serve', name, ...ports), { inside })
    await child.says(/listening/)
    return child
  }

  nft(): string {
    return this.host.output(['nft', 'list', 'ruleset'])
  }
}

/** One connection from a place, asked once: the answer, "refused" or "silence". */
export function askPort(from: Place, transport: 'tcp' | 'udp', address: string, port: number): string {
  const { stdout, stderr } = from.execute(peer('ask', transport, address, port))
  return stdout.trim() || stderr.trim()
}

/** DEL of portmap as after the loss of everything: no result, no mappings, no namespace. */
export function delBlindly({ network, containerId, ifname }: Attachment): Answer {
  return network.mustRun({ command: 'DEL', containerId, ifname, netns: '', config: network.config })
}
