/** Where devices come from and go back to: the host's namespace. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { warn } from '../../lib/attachment/warning.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { type NetworkNamespace, openOwnNamespace } from '../../lib/netns/index.ts'

export interface Home {
  readonly socket: NetlinkSocket
  readonly namespace: NetworkNamespace
  /** Tells what could not be done, without failing for it. */
  warn(message: string): void
}

/** Runs a function with the host's namespace open. @param socket one that works there already */
export function withHome<T>(request: NetworkRequest, use: (home: Home) => T, socket?: NetlinkSocket): T {
  if (socket === undefined) return withHostSocket(own => withHome(request, use, own))
  const namespace = openOwnNamespace()
  try {
    return use({ socket, namespace, warn: message => warn(request, message) })
  } finally {
    namespace.close()
  }
}
