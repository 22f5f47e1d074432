/** Overlay networks of this host as the kernel has them: their namespaces, and what is in these. */

import { formatAddress, type IpAddress } from '../../lib/address/address.ts'
import { readLinkAlias } from '../../lib/cni/names.ts'
import type { AttachmentId } from '../../lib/cni/types.ts'
import { type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import { listNamespaces, openNamespaceIfExists } from '../../lib/netns/index.ts'
import { readTables } from '../../lib/overlay/forwarding-tables.ts'
import { OVERLAY_NAMESPACE_PREFIX, readOverlayAlias } from '../../lib/overlay/names.ts'
import { OverlayNamespace } from '../../lib/overlay/namespace.ts'
import { admittedPeers } from '../../lib/overlay/peers.ts'
import { floodPeers } from '../../lib/overlay/vxlan.ts'

export type ControlPlaneName = 'static' | 'multicast' | 'etcd'

/** A network's VXLAN device. */
export interface LocalTunnel {
  readonly vni: number
  readonly port: number
  readonly local: IpAddress | undefined
  readonly group: IpAddress | undefined
  readonly mtu: number
  readonly up: boolean
  /** Whether it is a port of the network's bridge. */
  readonly attached: boolean
  readonly controlPlane: ControlPlaneName
  /** The hosts to which packets for everybody go. */
  readonly flooded: readonly IpAddress[]
  /** The hosts whose packets are taken; undefined: everybody's. */
  readonly admitted: readonly IpAddress[] | undefined
  /** Entries that say where a container on another host is: written, or learned. */
  readonly rows: ReadonlyMap<string, string>
}

export interface LocalNetwork {
  /** As the device's alias has it; where there is none, as the namespace is named. */
  readonly network: string
  /** Name below /run/netns. */
  readonly namespace: string
  /** Undefined when it has no bridge. */
  readonly bridge: { readonly up: boolean } | undefined
  readonly tunnel: LocalTunnel | undefined
  /** Attachments of this host, the agent's own among them. */
  readonly attachments: readonly AttachmentId[]
}

/** All of them, by name. @throws NetlinkError, SysError without the privilege to enter namespaces */
export function localNetworks(): LocalNetwork[] {
  return listNamespaces()
    .filter(({ name }) => name.startsWith(OVERLAY_NAMESPACE_PREFIX))
    .flatMap(({ name, path }) => {
      const namespace = openNamespaceIfExists(path)
      if (namespace === undefined) return []
      const overlay = new OverlayNamespace(namespace)
      try {
        return isOverlay(overlay) ? [readNetwork(name, overlay)] : []
      } finally {
        overlay.close()
      }
    })
}

/** Others may name their namespaces alike. */
function isOverlay(overlay: OverlayNamespace): boolean {
  return overlay.bridge !== undefined || overlay.vxlan !== undefined
}

function readNetwork(name: string, overlay: OverlayNamespace): LocalNetwork {
  const { bridge, vxlan } = overlay
  const network = readOverlayAlias(vxlan?.alias) ?? name.slice(OVERLAY_NAMESPACE_PREFIX.length)
  return {
    network,
    namespace: name,
    bridge: bridge && { up: bridge.up },
    tunnel: vxlan && readTunnel(overlay, vxlan, bridge),
    attachments: listLinks(overlay.socket, { kind: 'veth' }).flatMap(({ alias = '' }) => {
      const attachment = readLinkAlias(alias)
      return attachment === undefined ? [] : [{ containerId: attachment.containerId, ifname: attachment.ifname }]
    }),
  }
}

function readTunnel({ socket }: OverlayNamespace, link: Link, bridge: Link | undefined): LocalTunnel {
  const { id: vni = 0, port = 0, local, group, learning } = link.vxlan ?? {}
  return {
    vni,
    port,
    local,
    group,
    mtu: link.mtu,
    up: link.up,
    attached: bridge !== undefined && link.master === bridge.index,
    controlPlane: group !== undefined ? 'multicast' : learning === false ? 'etcd' : 'static',
    flooded: floodPeers(socket, link).filter(
      peer => group === undefined || formatAddress(peer) !== formatAddress(group),
    ),
    admitted: admittedPeers(port, vni),
    rows:
      bridge === undefined ? new Map() : readTables(socket, { vxlanIndex: link.index, bridgeIndex: bridge.index }).rows,
  }
}
