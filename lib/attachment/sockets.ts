/** The two places where an interface plugin works: the host's namespace and the container's. */

import { NetlinkProtocol, NetlinkSocket } from '../netlink/socket.ts'
import { type NetworkNamespace, openNamespace, openNamespaceIfExists } from '../netns/index.ts'

export interface Sockets {
  readonly host: NetlinkSocket
  readonly container: NetlinkSocket
  readonly namespace: NetworkNamespace
}

/** Runs a function with route sockets in both namespaces, and closes them whatever happens. */
export function withSockets<T>(netns: string, use: (sockets: Sockets) => T): T {
  const namespace = openNamespace(netns)
  try {
    return withHostSocket(host =>
      namespace.withSocket(NetlinkProtocol.route, container => use({ host, container, namespace })),
    )
  } finally {
    namespace.close()
  }
}

export function withHostSocket<T>(use: (host: NetlinkSocket) => T): T {
  const host = new NetlinkSocket(NetlinkProtocol.route)
  try {
    return use(host)
  } finally {
    host.close()
  }
}

/** Runs a function with a route socket in a namespace, unless that is gone. */
export function withContainerSocket(netns: string, use: (container: NetlinkSocket) => void): void {
  const namespace = openNamespaceIfExists(netns)
  if (namespace === undefined) return
  try {
    namespace.withSocket(NetlinkProtocol.route, use)
  } finally {
    namespace.close()
  }
}
