/** DEL: everything of the attachment goes, whatever is there of it and whatever is known of it. */

import { parseMac } from '../../lib/address/mac.ts'
import { isPrefix, parsePrefix } from '../../lib/address/prefix.ts'
import { releaseAddresses } from '../../lib/attachment/ipam.ts'
import { withContainerSocket, withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { hostVethName } from '../../lib/cni/names.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deleteMasquerade } from '../../lib/firewall/masquerade.ts'
import type { PendingClose } from '../../lib/firewall/pending-close.ts'
import { type AllowedSource, deleteSpoofCheck } from '../../lib/firewall/spoof-check.ts'
import { deleteLink, getLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { parseBridgeConfig } from './config.ts'
import { hasVlanGateway, removeUnusedGateway } from './vlan-gateway.ts'

export function del(request: AttachmentRequest): void {
  const config = parseBridgeConfig(request)
  // Undefined is not the same as none: then everything of the attachment is looked for.
  const addresses = request.prevResult?.ips?.map(ip => parsePrefix(ip.address)).filter(isPrefix)
  const pending: PendingClose[] = []
  runAll([
    // Before the link: both make this process wait for the kernel, and so they wait together.
    () => {
      if (config.masquerade === undefined) return
      const { environment } = request
      pending.push(deleteMasquerade(request, { environment, ...(addresses === undefined ? {} : { addresses }) }))
    },
    () => {
      if (config.macSpoofCheck) pending.push(deleteSpoofCheck(request, allowedSource(request)))
    },
    () => {
      withHostSocket(host => deletePair(host, request))
      // Only now: an address may be given out again when the link that had it is gone, and not before.
      if (config.ipamType !== undefined) releaseAddresses(request, config.ipamType)
    },
    () => {
      if (hasVlanGateway(config)) withHostSocket(host => removeUnusedGateway(host, config))
    },
    () => {
      for (const socket of pending) socket.close()
    },
  ])
}

/** The address of the container's interface, as ADD's result tells it. */
function allowedSource({ prevResult, network, containerId, ifname }: AttachmentRequest): AllowedSource | undefined {
  const { mac: text = '' } = prevResult?.interfaces?.find(one => one.name === ifname && one.sandbox) ?? {}
  const mac = parseMac(text)
  return mac && { port: hostVethName(network, containerId, ifname), mac }
}

/** Removes the pair by its host end, which needs no namespace; one that the Go plugin made only by the container's. */
function deletePair(host: NetlinkSocket, request: AttachmentRequest): void {
  if (
    deleteLink(
      host,
      { name: hostVethName(request.network, request.containerId, request.ifname) },
      { missing: 'ignore' },
    )
  )
    return
  withContainerSocket(request.netns, container => {
    // Anything but a veth is not a bridge network's to remove.
    if (getLink(container, { name: request.ifname })?.kind === 'veth') {
      deleteLink(container, { name: request.ifname }, { missing: 'ignore' })
    }
  })
}
