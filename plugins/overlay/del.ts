/** DEL: everything of the attachment goes, whatever is there of it; and with the last attachment the network on this host. */

import { releaseGatewayAddresses } from '../../ipam/gateway-pool.ts'
import { isPrefix, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { releaseAddresses } from '../../lib/attachment/ipam.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deleteMasquerade } from '../../lib/firewall/masquerade.ts'
import type { PendingClose } from '../../lib/firewall/pending-close.ts'
import { withdrawAttachment } from '../../lib/overlay/agent-client.ts'
import { removeUnusedOverlay } from '../../lib/overlay/network.ts'
import { deleteAttachmentLinks } from './attachment-links.ts'
import { parseOverlayConfig } from './config.ts'
import { masqueradedAttachment } from './way-out.ts'

export function del(request: AttachmentRequest): void {
  const config = parseOverlayConfig(request)
  const { controlPlane, gatewayBridge, ipamType } = config
  const { network } = request
  const pending: PendingClose[] = []
  runAll([
    // The other hosts first: what they still send meanwhile is only dropped.
    () => {
      if (controlPlane.type === 'etcd') withdrawAttachment(controlPlane.socket, request)
    },
    // Before the links: both make this process wait for the kernel, and so they wait together.
    () => {
      const addresses = wayOutAddresses(request)
      if (addresses?.length === 0) return
      const masqueraded = masqueradedAttachment(gatewayBridge.name, request)
      pending.push(deleteMasquerade(masqueraded, addresses === undefined ? {} : { addresses }))
    },
    () => {
      withHostSocket(host => deleteAttachmentLinks(host, request, gatewayBridge.name))
      // Only now: an address may be given out again when the link that had it is gone, and not before.
      releaseGatewayAddresses(gatewayBridge.name, request)
      releaseAddresses(request, ipamType)
    },
    () => removeUnusedOverlay(network),
    () => {
      for (const socket of pending) socket.close()
    },
  ])
}

/** The container's addresses on the gateway bridge; undefined when nobody knows them. */
function wayOutAddresses({ prevResult, ifname }: AttachmentRequest): Prefix[] | undefined {
  if (prevResult?.ips === undefined) return undefined
  const { interfaces = [], ips } = prevResult
  return ips
    .filter(ip => ip.interface === undefined || interfaces[ip.interface]?.name !== ifname)
    .map(ip => parsePrefix(ip.address))
    .filter(isPrefix)
}
