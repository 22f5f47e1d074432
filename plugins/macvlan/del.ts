/** DEL: everything of the attachment goes, whatever is there of it and whatever is known of it. */

import { type MacAddress, parseMac } from '../../lib/address/mac.ts'
import { releaseAddresses } from '../../lib/attachment/ipam.ts'
import { withContainerSocket, withHostSocket } from '../../lib/attachment/sockets.ts'
import { warn } from '../../lib/attachment/warning.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { linkAlias } from '../../lib/cni/names.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deleteLink, getLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { LockTimeoutError } from '../../lib/sys/lock.ts'
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
      if (!config.hostAccess) return
      unlessBusy(request, () => withHostSocket(host => new HostAccess(host, request.network, request).revoke()))
    },
    () => {
      if (!mayBeVlan || config.linkInContainer) return
      unlessBusy(request, () => withHostSocket(host => removeUnusedVlan(host, config.master, ownMac(request))))
    },
  ])
}

/** What others share is no reason to keep a container: the next DEL, or GC, removes it. */
function unlessBusy(request: AttachmentRequest, remove: () => void): void {
  try {
    remove()
  } catch (error) {
    if (!(error instanceof LockTimeoutError)) throw error
    warn(request, `what containers share is left for the next DEL or GC: ${error.message}`)
  }
}

/** The address of the container's interface, as ADD's result tells it. */
function ownMac({ prevResult, ifname }: AttachmentRequest): MacAddress | undefined {
  return parseMac(prevResult?.interfaces?.find(one => one.name === ifname && one.sandbox)?.mac ?? '')
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
