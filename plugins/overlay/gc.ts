/** GC: what this network's lost attachments have left behind. */

import { collectGatewayGarbage, releaseGatewayAddresses } from '../../ipam/gateway-pool.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { delegateGc } from '../../lib/cni/delegate.ts'
import { hostVethName, linkAliasPrefix, readLinkAlias } from '../../lib/cni/names.ts'
import type { AttachmentId, GcRequest } from '../../lib/cni/types.ts'
import { deleteMasquerade } from '../../lib/firewall/masquerade.ts'
import { deleteLinks, type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import { withOverlay } from '../../lib/overlay/namespace.ts'
import { removeUnusedOverlay } from '../../lib/overlay/network.ts'
import { parseOverlayConfig } from './config.ts'
import { gatewayPortName, masqueradedAttachment } from './way-out.ts'

export function gc(request: GcRequest): void {
  const { controlPlane, gatewayBridge, ipamType } = parseOverlayConfig(request)
  const { validAttachments, network } = request
  const collect = (valid: readonly AttachmentId[]) => [
    () => {
      if (controlPlane.type === 'etcd') callAgent(controlPlane.socket, 'gc', { network, validAttachments: [...valid] })
    },
    () => withHostSocket(host => removeLostWaysOut(host, network, gatewayBridge.name, valid)),
    () => {
      const names = new Set(valid.map(({ containerId, ifname }) => hostVethName(network, containerId, ifname)))
      withOverlay(network, overlay => {
        if (overlay !== undefined) deleteLinks(overlay.socket, lostPorts(overlay.socket, network, names))
      })
    },
    () => removeUnusedOverlay(network),
    () => collectGatewayGarbage(gatewayBridge.name),
  ]
  runAll([
    ...(validAttachments === undefined ? [] : collect(validAttachments)),
    // Last, as in DEL: addresses are free when their links are gone.
    () => delegateGc(request, ipamType),
  ])
}

/** The network's links are known by their alias; those of valid attachments by their derived names. */
function lostPorts(socket: NetlinkSocket, network: string, validNames: ReadonlySet<string>): Link[] {
  const prefix = linkAliasPrefix(network)
  return listLinks(socket, { kind: 'veth' }).filter(
    ({ alias, name }) => alias?.startsWith(prefix) && !validNames.has(name),
  )
}

function removeLostWaysOut(host: NetlinkSocket, network: string, bridge: string, valid: readonly AttachmentId[]): void {
  const lost = lostPorts(host, network, new Set(valid.map(one => gatewayPortName(bridge, one))))
  const attachments = lost.map(({ alias = '' }) => readLinkAlias(alias)).filter(one => one !== undefined)
  for (const one of attachments) deleteMasquerade(masqueradedAttachment(bridge, one)).close()
  deleteLinks(host, lost)
  for (const one of attachments) releaseGatewayAddresses(bridge, one)
}
