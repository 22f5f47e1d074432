/** Where devices come from and go back to: the host's namespace. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { type NetworkNamespace, openNamespace } from '../../lib/netns/index.ts'
import { encodeText } from '../../lib/sys/bytes.ts'
import { writeAll } from '../../lib/sys/file.ts'

const OWN_NAMESPACE = '/proc/self/ns/net'

export interface Home {
  readonly socket: NetlinkSocket
  readonly namespace: NetworkNamespace
  /** Tells what could not be done, without failing for it. */
  warn(message: string): void
}

/** Runs a function with the host's namespace open. @param socket one that works there already */
export function withHome<T>(request: NetworkRequest, use: (home: Home) => T, socket?: NetlinkSocket): T {
  if (socket === undefined) return withHostSocket(own => withHome(request, use, own))
  const namespace = openNamespace(OWN_NAMESPACE)
  try {
    const warn = (message: string) => writeAll(2, encodeText(`host-device: network "${request.network}": ${message}\n`))
    return use({ socket, namespace, warn })
  } finally {
    namespace.close()
  }
}
