/** DEL: everything of the attachment goes, whatever is there of it and whatever is known of it. */

import { releaseAddresses } from '../../lib/attachment/ipam.ts'
import { withContainerSocket, withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { linkAlias } from '../../lib/cni/names.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deleteLink, getLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { parseMacvlanConfig } from './config.ts'
import { HostAccess } from './host-access.ts'
import { removeUnusedVlan } from './vlan-master.ts'

export function del(request: AttachmentRequest): void {
  const config = parseMacvlanConfig(request)
  const mayBeVlan = config.master?.includes('.') ?? false
  runAll([
    () => {
      withContainerSocket(request.netns, container => {
        deleteMacvlan(container, request)
        if (mayBeVlan && config.linkInContainer) removeUnusedVlan(container, config.master)
      })
      // Only now: an address may be given out again when the link that had it is gone, and not before.
      if (config.ipamType !== undefined) releaseAddresses(request, config.ipamType)
    },
    () => {
      if (config.hostAccess) withHostSocket(host => new HostAccess(host, request.network, request).revoke())
    },
    () => {
      if (mayBeVlan && !config.linkInContainer) withHostSocket(host => removeUnusedVlan(host, config.master))
    },
  ])
}

/**
 * Removes the container's interface, which needs no master; without a namespace the kernel has removed it. Not another
 * network's: a runtime also asks for DEL after an ADD that was refused because the interface existed.
 */
function deleteMacvlan(container: NetlinkSocket, { network, containerId, ifname }: AttachmentRequest): void {
  const link = getLink(container, { name: ifname })
  if (link?.kind !== 'macvlan') return
  // The Go plugin gives its links no alias.
  if (link.alias !== undefined && link.alias !== linkAlias(network, containerId, ifname)) return
  deleteLink(container, { index: link.index }, { missing: 'ignore' })
}
