/** Names derived from a network: whoever knows the network finds its objects, after a crash and without any record. */

import { shortened } from '../firewall/attachment.ts'
import { sha512 } from '../sys/host.ts'

/** In the overlay namespace: the bridge of the network's containers on this host. */
export const OVERLAY_BRIDGE = 'br0'
/** In the overlay namespace: the tunnel to the other hosts, a port of the bridge. */
export const OVERLAY_VXLAN = 'vxlan0'

/**
 * The container id of what the agent itself attaches to networks, to lead connections to replicas of services: no runtime
 * knows of it, and so no GC takes it away.
 */
export const LOAD_BALANCER = 'ingress-load-balancer'

/** What the names of all overlay namespaces begin with. */
export const OVERLAY_NAMESPACE_PREFIX = 'overlay-'
/** With the prefix and ".lock" within NAME_MAX. */
const NETWORK_NAME_LIMIT = 200

/** The name, below /run/netns, of the namespace that holds a network's bridge and VXLAN device on this host. */
export function overlayNamespaceName(network: string): string {
  return `${OVERLAY_NAMESPACE_PREFIX}${shortened(network, NETWORK_NAME_LIMIT, '~')}`
}

const ALIAS_BEGINNING = 'cnikit overlay '
const ALIAS_MIDDLE = ' settings '
/** With the rest of the alias within IFALIASZ, 255 bytes. */
const ALIAS_NETWORK_LIMIT = 200

/**
 * What the VXLAN device carries as its alias once the network is complete on this host: whose it is, and a digest of the
 * settings that it was made with. Other than an attachment's alias, see `readLinkAlias`.
 */
export function overlayAlias(network: string, settings: unknown): string {
  const digest = sha512(JSON.stringify(settings)).slice(0, 16)
  return `${ALIAS_BEGINNING}${shortened(network, ALIAS_NETWORK_LIMIT, '~')}${ALIAS_MIDDLE}${digest}`
}

/** The network that a VXLAN device's alias names; undefined for an alias that is not an overlay's. */
export function readOverlayAlias(alias: string | undefined): string | undefined {
  if (alias === undefined || !alias.startsWith(ALIAS_BEGINNING)) return undefined
  const [network] = alias.slice(ALIAS_BEGINNING.length).split(ALIAS_MIDDLE)
  return network
}
