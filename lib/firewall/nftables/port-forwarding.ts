/** Port forwarding with nftables. port-forwarding-objects.ts shows the table. */

import { NetlinkError } from '../../netlink/error.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { type ForwardedPorts, forgetForwarded } from '../port-forwarding-connections.ts'
import type { PortForwardingCarrier } from '../port-forwarding-intent.ts'
import { addToNftables } from './port-forwarding-add.ts'
import { checkNftables } from './port-forwarding-check.ts'
import { deleteFromNftables } from './port-forwarding-delete.ts'
import { gcNftables } from './port-forwarding-gc.ts'
import { openNftables, requireNftables, withNftables } from './socket.ts'

const required = (): NetlinkSocket => requireNftables('port forwarding with nftables', 'set "backend": "iptables"')

/** The forwarding is changed by then, and a kernel may lack the module nf_conntrack_netlink: connections end by themselves. */
function forget(socket: NetlinkSocket, ports: readonly ForwardedPorts[]): void {
  try {
    forgetForwarded(socket, ports)
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error
  }
}

export const nftablesPortForwarding: PortForwardingCarrier = {
  add(attachment, forwarding) {
    return withNftables(required(), socket => {
      const { changed, reclaimed } = addToNftables(socket, attachment, forwarding)
      forget(socket, reclaimed)
      return changed
    })
  },
  check(attachment, forwarding) {
    withNftables(required(), socket => checkNftables(socket, attachment, forwarding))
  },
  delete(attachment, known) {
    const socket = openNftables()
    if (socket === undefined) return
    withNftables(socket, () => forget(socket, deleteFromNftables(socket, attachment, known)))
  },
  gc(network, valid) {
    const socket = openNftables()
    if (socket !== undefined) withNftables(socket, () => forget(socket, gcNftables(socket, network, valid)))
  },
  status() {
    required().close()
  },
}
