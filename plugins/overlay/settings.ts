/** From the configuration to the network as it is to be on this host, by each control plane. */

import { familyOf, type IpAddress, parseAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { getLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { JoinAnswer } from '../../lib/overlay/agent-protocol.ts'
import type { OverlaySettings } from '../../lib/overlay/network.ts'
import { otherPeers } from '../../lib/overlay/peers.ts'
import { addressOfLink, localAmong, tunnelMtu } from '../../lib/overlay/underlay.ts'
import type { Tunnel } from '../../lib/overlay/vxlan.ts'
import type { MulticastControlPlane, OverlayConfig, StaticControlPlane } from './config.ts'

/** Without an agent: all stands in the configuration. */
export function settingsWithoutAgent(
  network: string,
  controlPlane: StaticControlPlane | MulticastControlPlane,
  mtu: number,
): OverlaySettings {
  const { type, vni, port, local, peers } = controlPlane
  const texts = (addresses: readonly IpAddress[] | undefined) => addresses?.map(address => address.join('.'))
  const own = [local?.join('.'), texts(peers)]
  const group = type === 'multicast' ? [controlPlane.group.join('.'), controlPlane.interface] : []
  return {
    network,
    settings: [type, vni, port, mtu, own, group],
    filtered: peers !== undefined,
    agent: false,
    resolve: host =>
      type === 'static' ? resolveStatic(host, controlPlane, mtu) : resolveMulticast(host, controlPlane, mtu),
    peers: tunnel => peers && otherPeers(peers, tunnel.local),
  }
}

function resolveStatic(host: NetlinkSocket, { vni, port, local, peers }: StaticControlPlane, mtu: number): Tunnel {
  const own = local ?? localAmong(host, peers)
  const others = otherPeers(peers, own)
  return { vni, port, local: own, mtu: tunnelMtu(host, mtu, { local: own, peers: others }), learning: true }
}

function resolveMulticast(host: NetlinkSocket, controlPlane: MulticastControlPlane, mtu: number): Tunnel {
  const { vni, port, group, local } = controlPlane
  const link = getLink(host, { name: controlPlane.interface })
  if (link === undefined) {
    throw new CniError(
      ErrorCode.linkMissing,
      `interface "${controlPlane.interface}" of "controlPlane" is not there`,
      '"ip link" shows the interfaces of this host',
    )
  }
  const own = local ?? addressOfLink(host, link, familyOf(group))
  return {
    vni,
    port,
    local: own,
    mtu: tunnelMtu(host, mtu, { local: own, peers: [], link }),
    learning: true,
    multicast: { group, index: link.index },
  }
}

/** What the agent answered. It keeps the peer filter and all entries itself. */
export function settingsOfAgent(network: string, config: OverlayConfig, answer: JoinAnswer): OverlaySettings {
  const { vni, port, local: text } = answer
  const local = parseAddress(text)
  if (local === undefined) {
    throw new CniError(ErrorCode.tryAgainLater, `overlayd answered with the tunnel address ${JSON.stringify(text)}`)
  }
  const mtu = answer.mtu || config.mtu
  return {
    network,
    settings: ['etcd', vni, port, mtu, text],
    filtered: false,
    agent: true,
    resolve: host => ({ vni, port, local, mtu: tunnelMtu(host, mtu, { local, peers: [] }), learning: false }),
    peers: () => undefined,
  }
}
