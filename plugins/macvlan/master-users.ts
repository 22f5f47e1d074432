/**
 * Who has a macvlan or an ipvlan on a master. The kernel tells it nowhere: such links are seen in their own namespaces
 * alone. So every namespace that can be found is asked, and only when something has failed.
 */

import { readLinkAlias } from '../../lib/cni/names.ts'
import { type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import { getNamespaceId } from '../../lib/netlink/route/namespace-id.ts'
import { NetlinkProtocol } from '../../lib/netlink/socket.ts'
import { type NetworkNamespace, openOwnNamespace, visitNamespaces } from '../../lib/netns/index.ts'

export interface MasterUser {
  /** Of a macvlan. */
  readonly mode: string | undefined
  /** Completes "is in use": `by "eth0" of container "abc" in network "podnet" (namespace "/run/netns/abc")`. */
  readonly description: string
}

/**
 * One of the links on a master; undefined when none can be found.
 * @param index the master's
 * @param place the namespace that it is in; the plugin's own by default
 */
export function findUser(index: number, place?: NetworkNamespace): MasterUser | undefined {
  const home = place ?? openOwnNamespace()
  try {
    return visitNamespaces(namespace => bestEffort(() => findUserIn(namespace, index, home)))
  } finally {
    if (home !== place) home.close()
  }
}

function findUserIn(namespace: NetworkNamespace, index: number, home: NetworkNamespace): MasterUser | undefined {
  return namespace.withSocket(NetlinkProtocol.route, socket => {
    const homeId = namespace.identity === home.identity ? undefined : getNamespaceId(socket, home.fd)
    // Links of a namespace without a number for the master's have their masters elsewhere.
    if (homeId === undefined && namespace.identity !== home.identity) return undefined
    const link = listLinks(socket).find(
      one =>
        (one.kind === 'macvlan' || one.kind === 'macvtap' || one.kind === 'ipvlan') &&
        one.parent === index &&
        one.parentNamespaceId === homeId,
    )
    return link && { mode: link.macvlan?.mode?.toString(), description: describe(link, namespace.path) }
  })
}

function describe({ name, kind, alias }: Link, path: string): string {
  const attachment = alias === undefined ? undefined : readLinkAlias(alias)
  const owner =
    attachment === undefined ? '' : ` of container "${attachment.containerId}" in network "${attachment.network}"`
  return `by ${kind} "${name}"${owner} (namespace "${path}")`
}

/** Namespaces and processes come and go while they are looked at. */
function bestEffort<T>(look: () => T): T | undefined {
  try {
    return look()
  } catch {
    return undefined
  }
}
