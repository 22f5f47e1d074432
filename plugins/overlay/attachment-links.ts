/** The links of an attachment: its port in the overlay, its port on the gateway bridge, and their ends in the container. */

import { withContainerSocket } from '../../lib/attachment/sockets.ts'
import { hostVethName } from '../../lib/cni/names.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deleteLink, deleteLinks, getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { withOverlay } from '../../lib/overlay/namespace.ts'
import { gatewayPortName } from './way-out.ts'

/** The name of the attachment's port in the overlay namespace. */
export function overlayPortName({
  network,
  containerId,
  ifname,
}: Pick<AttachmentRequest, 'network' | 'containerId' | 'ifname'>): string {
  return hostVethName(network, containerId, ifname)
}

/** Deletes all of the attachment's links, whichever of their ends can be reached. */
export function deleteAttachmentLinks(host: NetlinkSocket, request: AttachmentRequest, gatewayBridge: string): void {
  const gatewayPort = { name: gatewayPortName(gatewayBridge, request) }
  const overlayPort = { name: overlayPortName(request) }
  withOverlay(request.network, overlay => {
    const ports = [overlay && getLink(overlay.socket, overlayPort), getLink(host, gatewayPort)]
    // By their ends in the container, which are in one namespace: the kernel waits once for both.
    withContainerSocket(request.netns, container => {
      const ends = ports.map(port => otherEnd(container, port))
      deleteLinks(
        container,
        ends.filter(end => end !== undefined),
      )
    })
    deleteLink(host, gatewayPort, { missing: 'ignore' })
    if (overlay !== undefined) deleteLink(overlay.socket, overlayPort, { missing: 'ignore' })
  })
}

function otherEnd(container: NetlinkSocket, port: Link | undefined): Link | undefined {
  if (port?.parent === undefined) return undefined
  const end = getLink(container, { index: port.parent })
  return end?.kind === 'veth' && end.parent === port.index ? end : undefined
}
