/** The two places where a bridge works: the host's namespace and the container's. */

import { NetlinkProtocol, NetlinkSocket } from '../netlink/socket.ts'
import { type NetworkNamespace, openNamespace } from '../netns/index.ts'

export interface Sockets {
  readonly host: NetlinkSocket
  readonly container: NetlinkSocket
  readonly namespace: NetworkNamespace
}

/** Runs a function with route sockets in both namespaces, and closes them whatever happens. */
export function withSockets<T>(netns: string, use: (sockets: Sockets) => T): T {
  const namespace = openNamespace(netns)
  try {
    return withHostSocket(host => {
      const container = namespace.openSocket(NetlinkProtocol.route)
      try {
        return use({ host, container, namespace })
      } finally {
        container.close()
      }
    })
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
