/**
 * A host with an uplink on a local network, on which it has addresses, as everybody else there:
 *
 *     host: uplink 10.88.0.250 ── port ── sw 10.88.0.1 (a bridge in the namespace "lan", the gateway too)
 */

import { type Host, Network, type NetworkNamespace, until } from '../harness/index.ts'

export const lanAddresses = {
  host: { ipv4: '10.88.0.250', ipv6: 'fd00:88::250' },
  gateway: { ipv4: '10.88.0.1', ipv6: 'fd00:88::1' },
} as const

/** The link of the host that is the containers' master. */
export const master = 'uplink'

/** host-local's addresses on the local network, in the families that are asked for. */
export function lanAddressing(host: Host, ...versions: readonly ('ipv4' | 'ipv6')[]): object {
  const ranges = {
    ipv4: [{ subnet: '10.88.0.0/24', rangeEnd: '10.88.0.199' }],
    ipv6: [{ subnet: 'fd00:88::/64', rangeEnd: 'fd00:88::199' }],
  }
  const wanted = versions.length === 0 ? (['ipv4', 'ipv6'] as const) : versions
  return {
    type: 'host-local',
    dataDir: host.dataDirectory,
    ranges: wanted.map(version => ranges[version]),
    routes: wanted.map(version => ({ dst: version === 'ipv4' ? '0.0.0.0/0' : '::/0' })),
  }
}

/** Connects the host to a local network of its own; gives the namespace that plays it. */
export async function createLan(host: Host): Promise<NetworkNamespace> {
  const lan = host.createNamespace('lan')
  // Fixed addresses: the bridge would otherwise change its own.
  host.ip(`link add ${master} type veth peer name port netns ${lan.name}
link set ${master} up
addr add ${lanAddresses.host.ipv4}/24 dev ${master}
addr add ${lanAddresses.host.ipv6}/64 dev ${master} nodad`)
  lan.ip(`link add sw address 52:54:00:00:00:01 type bridge
link set port master sw up
link set sw up
addr add ${lanAddresses.gateway.ipv4}/24 dev sw
addr add ${lanAddresses.gateway.ipv6}/64 dev sw nodad`)
  // Asked for a link, a newer kernel looks at its carrier; by itself it may do so a second later, and until then the
  // bridge's port is closed.
  host.show('link', 'show', 'dev', master)
  await until('the switch is ready', () => operState(lan, 'port') === 'UP' && operState(lan, 'sw') === 'UP', 10)
  return lan
}

/** A macvlan network on the uplink. @param keys keys of the configuration beyond these, or other than these */
export function macvlanNetwork(host: Host, keys: object = {}, pluginDir?: string): Network {
  const config = {
    type: 'macvlan',
    name: 'lannet',
    master,
    bridge: undefined,
    isDefaultGateway: undefined,
    ipam: lanAddressing(host),
    ...keys,
  }
  return pluginDir === undefined ? new Network(host, config) : new Network(host, config, pluginDir)
}

function operState(namespace: NetworkNamespace, link: string): unknown {
  return namespace.show('link', 'show', 'dev', link)[0]?.operstate
}

/** The container's interface as "ip -j -d link" shows it. */
export function interfaceOf(container: NetworkNamespace, ifname = 'eth0') {
  const [link] = container.show<
    { address: string; mtu: number; ifalias?: string; linkinfo: { info_kind: string; info_data: { mode: string } } }[]
  >('link', 'show', 'dev', ifname)
  if (link === undefined) throw new Error(`no "${ifname}" in ${container.name}`)
  return link
}
