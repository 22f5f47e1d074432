/**
 * The overlay namespace of a network on this host, /run/netns/overlay-<network>: it holds the bridge "br0", the tunnel
 * "vxlan0" and the host's ends of the containers' links, and nothing else:
 *
 *     host                      overlay-web                               container
 *     udp 4789 ~~~~~~~~~~~~~~~~ vxlan0 ── br0 ── veth3f0e4c21a90 ──────── eth0
 *
 * A namespace of its own lets networks with the same addresses live side by side, and keeps the host's firewall and
 * routes out of their way.
 */

import { linkAliasPrefix } from '../cni/names.ts'
import { deleteLinks, getLink, type Link, listLinks } from '../netlink/route/link/index.ts'
import { NetlinkProtocol, type NetlinkSocket } from '../netlink/socket.ts'
import {
  createNamespace,
  deleteNamespace,
  listNamespaces,
  type NetworkNamespace,
  namespacePath,
  openNamespace,
  openNamespaceIfExists,
  writeSysctlIfExists,
} from '../netns/index.ts'
import {
  OVERLAY_BRIDGE,
  OVERLAY_NAMESPACE_PREFIX,
  OVERLAY_VXLAN,
  overlayNamespaceName,
  readOverlayAlias,
} from './names.ts'

/** An open overlay namespace, and a route socket in it. */
export class OverlayNamespace {
  readonly namespace: NetworkNamespace
  readonly socket: NetlinkSocket

  constructor(namespace: NetworkNamespace) {
    this.namespace = namespace
    try {
      this.socket = namespace.openSocket(NetlinkProtocol.route)
    } catch (error) {
      namespace.close()
      throw error
    }
  }

  get bridge(): Link | undefined {
    return getLink(this.socket, { name: OVERLAY_BRIDGE })
  }

  get vxlan(): Link | undefined {
    return getLink(this.socket, { name: OVERLAY_VXLAN })
  }

  close(): void {
    this.socket.close()
    this.namespace.close()
  }
}

/** The network's namespace on this host; undefined when there is none. */
export function openOverlay(network: string): OverlayNamespace | undefined {
  const namespace = openNamespaceIfExists(namespacePath(overlayNamespaceName(network)))
  return namespace && new OverlayNamespace(namespace)
}

/** Runs a function with the network's namespace, or with undefined when there is none, and closes it. */
export function withOverlay<T>(network: string, use: (overlay: OverlayNamespace | undefined) => T): T {
  const overlay = openOverlay(network)
  try {
    return use(overlay)
  } finally {
    overlay?.close()
  }
}

/** Makes the namespace. Only for who holds the network's lock alone. */
export function createOverlay(network: string): OverlayNamespace {
  const name = overlayNamespaceName(network)
  // The file on which an ADD that was killed has not mounted it yet.
  deleteNamespace(name)
  const namespace = openNamespace(createNamespace(name))
  namespace.run(() => {
    // Nothing here speaks IPv6 itself: no link-local addresses, nor the packets that announce them.
    writeSysctlIfExists('net/ipv6/conf/default/addr_gen_mode', '1')
    // Where br_netfilter is loaded, frames would be tracked as connections here.
    for (const family of ['ip', 'ip6', 'arp']) writeSysctlIfExists(`net/bridge/bridge-nf-call-${family}tables`, '0')
  })
  return new OverlayNamespace(namespace)
}

/**
 * The ports of the network's attachments, known by how their alias begins. Ports of others, as of an agent, have other
 * aliases and keep no network alive.
 */
export function attachmentPorts({ socket }: OverlayNamespace, network: string): Link[] {
  const prefix = linkAliasPrefix(network)
  return listLinks(socket, { kind: 'veth' }).filter(({ alias }) => alias?.startsWith(prefix))
}

/** Removes the namespace with all its links. Only for who holds the network's lock alone. */
export function removeOverlay(overlay: OverlayNamespace, network: string): void {
  // A namespace is only taken apart some time after it is given up: until then the VNI would be taken.
  const links = listLinks(overlay.socket).filter(({ name }) => name === OVERLAY_BRIDGE || name === OVERLAY_VXLAN)
  deleteLinks(overlay.socket, links)
  deleteNamespace(overlayNamespaceName(network))
}

/** Another network on this host with a tunnel. */
export interface OtherTunnel {
  /** "network "db"", or whatever else is known of the owner. */
  readonly owner: string
  readonly vni: number
  readonly port: number
}

/** The VXLAN devices of this host's overlay namespaces and of the host itself. Not for the common path. */
export function listTunnels(host: NetlinkSocket): OtherTunnel[] {
  const describe = ({ alias, name, vxlan }: Link, where: string): OtherTunnel => {
    const network = readOverlayAlias(alias)
    const owner = network === undefined ? `"${name}" in ${where}` : `network "${network}"`
    return { owner, vni: vxlan?.id ?? 0, port: vxlan?.port ?? 0 }
  }
  const own = listLinks(host, { kind: 'vxlan' }).map(link => describe(link, "the host's own namespace"))
  const others = listNamespaces()
    .filter(({ name }) => name.startsWith(OVERLAY_NAMESPACE_PREFIX))
    .flatMap(({ name, path }) => {
      const namespace = openNamespaceIfExists(path)
      if (namespace === undefined) return []
      const overlay = new OverlayNamespace(namespace)
      try {
        return listLinks(overlay.socket, { kind: 'vxlan' }).map(link => describe(link, `namespace "${name}"`))
      } finally {
        overlay.close()
      }
    })
  return [...own, ...others]
}
