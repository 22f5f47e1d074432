/** GC: what this network's lost attachments have left behind. */

import { collectGatewayGarbage, gatewayOwners } from '../../ipam/gateway-pool.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { delegateGc } from '../../lib/cni/delegate.ts'
import { hostVethName, linkAliasPrefix } from '../../lib/cni/names.ts'
import type { AttachmentId, GcRequest } from '../../lib/cni/types.ts'
import { gcMasquerade } from '../../lib/firewall/masquerade.ts'
import { deleteLinks, type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { withNamespaceLock } from '../../lib/netns/namespace-lock.ts'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import { LOAD_BALANCER, OVERLAY_BRIDGE } from '../../lib/overlay/names.ts'
import { withOverlay } from '../../lib/overlay/namespace.ts'
import { removeUnusedOverlay } from '../../lib/overlay/network.ts'
import { parseOverlayConfig } from './config.ts'
import { gatewayPortName } from './way-out.ts'

export function gc(asked: GcRequest): void {
  const { controlPlane, gatewayBridge, ipamType } = parseOverlayConfig(asked)
  const request = withAgents(asked)
  const { validAttachments, network } = request
  const collect = (valid: readonly AttachmentId[]) => [
    () => {
      if (controlPlane.type === 'etcd') callAgent(controlPlane.socket, 'gc', { network, validAttachments: [...valid] })
    },
    () => {
      const names = new Set(valid.map(one => gatewayPortName(gatewayBridge.name, one)))
      withHostSocket(host => deleteLinks(host, lostPorts(host, network, names)))
    },
    () => {
      const names = new Set(valid.map(({ containerId, ifname }) => hostVethName(network, containerId, ifname)))
      withOverlay(network, overlay => {
        if (overlay !== undefined) deleteLinks(overlay.socket, lostPorts(overlay.socket, network, names))
      })
    },
    () => removeUnusedOverlay(network),
    () => collectWaysOut(gatewayBridge.name, request.environment),
  ]
  runAll([
    ...(validAttachments === undefined ? [] : collect(validAttachments)),
    // Last, as in DEL: addresses are free when their links are gone.
    () => delegateGc(request, ipamType),
  ])
}

/** Together with what the agent attaches itself, which no runtime lists: see LOAD_BALANCER. */
function withAgents(request: GcRequest): GcRequest {
  const { validAttachments } = request
  if (validAttachments === undefined) return request
  const own = ['eth0', OVERLAY_BRIDGE].map(ifname => ({ containerId: LOAD_BALANCER, ifname }))
  return { ...request, validAttachments: [...validAttachments, ...own] }
}

/** The network's links are known by their alias; those of valid attachments by their derived names. */
function lostPorts(socket: NetlinkSocket, network: string, validNames: ReadonlySet<string>): Link[] {
  const prefix = linkAliasPrefix(network)
  return listLinks(socket, { kind: 'veth' }).filter(
    ({ alias, name }) => alias?.startsWith(prefix) && !validNames.has(name),
  )
}

/**
 * Masquerade and addresses on the gateway bridge, of whichever network, that belong to no port. From an ADD's first look
 * at the bridge until its port is there the namespace's lock is held.
 */
function collectWaysOut(bridge: string, environment: GcRequest['environment']): void {
  withNamespaceLock(() =>
    withHostSocket(host => {
      const ports = new Set(listLinks(host, { kind: 'veth' }).map(({ name }) => name))
      const used = gatewayOwners(bridge).filter(owner => ports.has(gatewayPortName(bridge, owner)))
      gcMasquerade(bridge, used, { environment })
      collectGatewayGarbage(bridge, used)
    }),
  )
}
