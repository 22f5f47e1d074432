/** What cnictl asks of network namespaces itself. */

import { getLink } from '../lib/netlink/route/link/index.ts'
import { NetlinkProtocol } from '../lib/netlink/socket.ts'
import { NotANamespaceError, openNamespace, openNamespaceIfExists } from '../lib/netns/index.ts'

/** Whether the namespace has an interface of that name. @throws NotANamespaceError, SysError, NetlinkError */
export function interfaceExists(netns: string, name: string): boolean {
  const namespace = openNamespace(netns)
  try {
    const socket = namespace.openSocket(NetlinkProtocol.route)
    try {
      return getLink(socket, { name }) !== undefined
    } finally {
      socket.close()
    }
  } finally {
    namespace.close()
  }
}

/**
 * Whether a path that once led to a network namespace does no more: nothing is there, or the file that it was mounted
 * on. False for "" and for what cannot be looked at: what may be alive is kept.
 */
export function isNamespaceGone(netns: string): boolean {
  if (netns === '') return false
  try {
    const namespace = openNamespaceIfExists(netns)
    namespace?.close()
    return namespace === undefined
  } catch (error) {
    return error instanceof NotANamespaceError
  }
}
