/** Overlay networks on a test's cluster: each host gives out its own part of the subnets. */

import type { Test } from 'tap'
import { type Attachment, type Cluster, type ClusterHost, Network } from '../harness/index.ts'

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

/** Addresses that are given out on the host. */
export const held = (host: ClusterHost): string[] =>
  host
    .output(['sh', '-c', 'cd /var/lib/cni/networks && ls -d */* 2>/dev/null || true'])
    .split('\n')
    .filter(name => /\/[0-9a-f]+[.:]/.test(name))

/** GC may have removed the table. */
const masqueraded = (host: ClusterHost): boolean =>
  /comment/.test(host.execute(['nft', 'list', 'table', 'inet', 'cnikit']).stdout)

/** Nothing is left of the network and its containers, apart from the gateway bridge. */
export function assertGone(t: Test, host: ClusterHost): void {
  t.same(host.namedNamespaces(), [], 'no namespace')
  t.same(host.links().toSorted(), ['docker_gwbridge', 'lo', 'uplink'], 'no link')
  t.same(held(host), [], 'no address')
  t.notOk(masqueraded(host), 'no masquerade')
  const filter = host.output(['nft', 'list', 'table', 'inet', 'cnikit-overlay'])
  t.notMatch(filter, /comment/, 'no peer')
  t.same(host.output(['sh', '-c', 'ls /run/cnikit/networks | grep overlay || true']), '', 'no lock')
}
