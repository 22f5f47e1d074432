/** Overlay networks on a test's cluster: each host gives out its own part of the subnets. */

import { type Attachment, type Cluster, type ClusterHost, Network, type NetworkNamespace } from '../harness/index.ts'

/** host-local's configuration: on every host other addresses of the same subnets, 32 of each. */
export function ownRanges(host: ClusterHost, network = 1, families: readonly (4 | 6)[] = [4, 6]): object {
  const [first, last] = [host.number * 32, host.number * 32 + 31]
  const ranges = {
    4: { subnet: `10.${network}.0.0/24`, rangeStart: `10.${network}.0.${first}`, rangeEnd: `10.${network}.0.${last}` },
    6: {
      subnet: `fd00:${network}::/64`,
      rangeStart: `fd00:${network}::${first}`,
      rangeEnd: `fd00:${network}::${last}`,
    },
  }
  return { type: 'host-local', ranges: families.map(family => [ranges[family]]) }
}

export const staticPeers = (cluster: Cluster, family: 'ipv4' | 'ipv6' = 'ipv4'): object => ({
  type: 'static',
  peers: cluster.hosts.map(host => host.underlay[family]),
})

/** The network "web" on one host, dual stack, with static peers. */
export function overlayOn(cluster: Cluster, host: ClusterHost, config: object = {}): Network {
  const defaults = { name: 'web', type: 'overlay', vni: 4097, controlPlane: staticPeers(cluster) }
  return new Network(host, { ...defaults, ipam: ownRanges(host), ...config })
}

/** One attachment to the network on each host. */
export function attachEverywhere(cluster: Cluster, config: object = {}): Attachment[] {
  return cluster.hosts.map(host => overlayOn(cluster, host, config).attach())
}

/** The addresses of the attachment's own interface, without those on the gateway bridge. */
export function ownAddresses({ result }: Attachment): string[] {
  return (result.ips ?? []).filter(ip => ip.interface === 0).map(({ address }) => address.replace(/\/.*/, ''))
}

/** The addresses on the gateway bridge. */
export function gatewayAddresses({ result }: Attachment): string[] {
  return (result.ips ?? []).filter(ip => ip.interface === 1).map(({ address }) => address.replace(/\/.*/, ''))
}

/** A ping with so many bytes of IP packet that may not be fragmented. */
export function pingsUnfragmented(from: NetworkNamespace, address: string, bytes: number): boolean {
  const payload = bytes - 8 - (address.includes(':') ? 40 : 20)
  const command = ['ping', '-n', '-q', '-c', '1', '-W', '2', '-M', 'do', '-s', String(payload), address]
  return from.execute(command).status === 0
}
