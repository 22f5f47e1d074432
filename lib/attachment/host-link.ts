/** What a container's interface has on the host: the other end of its veth, or the link that it stands on. */

import { getLink, type Link } from '../netlink/route/link/index.ts'
import { getNamespaceId } from '../netlink/route/namespace-id.ts'
import { openOwnNamespace } from '../netns/index.ts'
import type { Sockets } from './sockets.ts'

/** Undefined when that is not on the host, or there is none. @throws NetlinkError */
export function findHostLink({ host, container }: Omit<Sockets, 'namespace'>, link: Link): Link | undefined {
  const { parent, parentNamespaceId } = link
  if (parent === undefined || parent === 0 || parentNamespaceId === undefined) return undefined
  const own = openOwnNamespace()
  try {
    if (getNamespaceId(container, own.fd) !== parentNamespaceId) return undefined
  } finally {
    own.close()
  }
  return getLink(host, { index: parent })
}
