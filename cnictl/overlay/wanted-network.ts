/** Overlay networks of this host as they are wanted: by the agent, which has them from etcd, or by their configuration. */

import { formatAddress, type IpAddress, parseAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { listAddresses } from '../../lib/netlink/route/addr/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { AgentAwayError, callAgent } from '../../lib/overlay/agent-client.ts'
import type { KnownNetwork } from '../../lib/overlay/agent-protocol.ts'
import { rowsOf } from '../../lib/overlay/forwarding-tables.ts'
import { overlayNamespaceName } from '../../lib/overlay/names.ts'
import { readNetworkDirectory } from '../../lib/runtime/index.ts'
import type { ControlPlaneName } from './local-network.ts'

/** What a network is to be on this host. */
export interface WantedNetwork {
  readonly network: string
  readonly controlPlane: ControlPlaneName
  readonly vni: number
  readonly port: number
  /** The other hosts, with their node's name where it is known; undefined when anybody may be one (multicast). */
  readonly hosts: ReadonlyMap<string, string | undefined> | undefined
  /** Undefined where entries are learned. */
  readonly rows: ReadonlyMap<string, string> | undefined
}

export interface WantedNetworks {
  /** By the name of the network's namespace. */
  readonly networks: ReadonlyMap<string, WantedNetwork>
  readonly agent: { readonly node: string; readonly local: string } | undefined
  /** Why the agent was not heard. */
  readonly agentError: CniError | undefined
}

/** IANA's port for VXLAN, which the plugin takes unless told otherwise. */
export const VXLAN_PORT = 4789

export function wantedNetworks(
  host: NetlinkSocket,
  options: { readonly socket: string; readonly configDirectory: string },
): WantedNetworks {
  const networks = new Map<string, WantedNetwork>()
  for (const wanted of configuredNetworks(host, options.configDirectory))
    networks.set(overlayNamespaceName(wanted.network), wanted)
  try {
    const answer = callAgent(options.socket, 'networks', {})
    for (const known of answer.networks) networks.set(overlayNamespaceName(known.network), fromAgent(known))
    return { networks, agent: { node: answer.node, local: answer.local }, agentError: undefined }
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    return { networks, agent: undefined, agentError: error }
  }
}

/** Whether nobody listens at the agent's socket: on hosts without networks of the kind `etcd` that is as it should be. */
export function isAgentAway(error: CniError | undefined): boolean {
  return error instanceof AgentAwayError && error.code === ErrorCode.tryAgainLater
}

function fromAgent({ network, vni, port, hosts, endpoints }: KnownNetwork): WantedNetwork {
  const rows = new Map<string, string>()
  for (const endpoint of endpoints) for (const { key, content } of rowsOf(endpoint)) rows.set(key, content)
  return { network, controlPlane: 'etcd', vni, port, hosts: new Map(hosts.map(one => [one.address, one.node])), rows }
}

/** Those with a list of peers or a group. What is not as it should be is passed over: the plugin refuses it. */
function configuredNetworks(host: NetlinkSocket, directory: string): WantedNetwork[] {
  const own = new Set(listAddresses(host).map(({ prefix }) => formatAddress(prefix.address)))
  return readNetworkDirectory(directory).networks.flatMap(({ network }) =>
    network.plugins.flatMap(({ type: plugin, raw }): WantedNetwork[] => {
      const { vni, port = VXLAN_PORT } = raw
      const { type, local, peers } = objectOf(raw.controlPlane)
      if (plugin !== 'overlay' || (type !== 'static' && type !== 'multicast')) return []
      if (typeof vni !== 'number' || typeof port !== 'number') return []
      const isLocal = (peer: string) => (typeof local === 'string' ? peer === canonical(local) : own.has(peer))
      const known = Array.isArray(peers)
        ? new Map(
            peers
              .map(peer => canonical(String(peer)))
              .filter(peer => !isLocal(peer))
              .map(peer => [peer, undefined]),
          )
        : undefined
      return [{ network: network.name, controlPlane: type, vni, port, hosts: known, rows: undefined }]
    }),
  )
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

/** As addresses are written here. */
function canonical(text: string): string {
  const address: IpAddress | undefined = parseAddress(text)
  return address === undefined ? text : formatAddress(address)
}
