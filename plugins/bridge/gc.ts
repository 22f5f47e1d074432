/** GC: what this network's lost attachments have left behind. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { delegateGc } from '../../lib/cni/delegate.ts'
import { hostVethName, linkAliasPrefix } from '../../lib/cni/names.ts'
import type { GcRequest } from '../../lib/cni/types.ts'
import { gcMasquerade } from '../../lib/firewall/masquerade.ts'
import { gcSpoofCheck } from '../../lib/firewall/spoof-check.ts'
import { deleteLinks, listLinks } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { parseBridgeConfig } from './config.ts'
import { hasVlanGateway, removeUnusedGateway } from './vlan-gateway.ts'

export function gc(request: GcRequest): void {
  const config = parseBridgeConfig(request)
  const { validAttachments, network } = request
  runAll([
    () => {
      if (validAttachments === undefined) return
      const names = new Set(validAttachments.map(one => hostVethName(network, one.containerId, one.ifname)))
      withHostSocket(host => deleteLostPairs(host, network, names))
    },
    () => {
      if (validAttachments === undefined || !hasVlanGateway(config)) return
      withHostSocket(host => removeUnusedGateway(host, config))
    },
    () => {
      if (validAttachments !== undefined) gcMasquerade(network, validAttachments, { environment: request.environment })
    },
    () => {
      if (validAttachments !== undefined) gcSpoofCheck(network, validAttachments)
    },
    // Last, as in DEL: addresses are free when their links are gone.
    () => {
      if (config.ipamType !== undefined) delegateGc(request, config.ipamType)
    },
  ])
}

/** The network's links are known by their alias; those of valid attachments by their derived names. */
function deleteLostPairs(host: NetlinkSocket, network: string, validNames: ReadonlySet<string>): void {
  const prefix = linkAliasPrefix(network)
  const lost = listLinks(host, { kind: 'veth' }).filter(
    link => link.alias?.startsWith(prefix) && !validNames.has(link.name),
  )
  deleteLinks(host, lost)
}
