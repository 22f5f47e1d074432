/** DEL: the limits go, and the ifb. The configuration is not looked at: names tell everything. */

import { findHostLink } from '../../lib/attachment/host-link.ts'
import { withContainerSocket, withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { hostVethName } from '../../lib/cni/names.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deleteLink, getLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { goIfbName, ifbName } from './ifb-name.ts'
import { removeBucket, removeRedirect } from './shaping.ts'

export function del(request: AttachmentRequest): void {
  withHostSocket(host =>
    runAll([
      () => {
        const hostEnd = findHostEnd(host, request)
        if (hostEnd === undefined) return
        removeRedirect(host, hostEnd)
        removeBucket(host, hostEnd)
      },
      () => {
        if (!deleteLink(host, { name: ifbName(request) }, { missing: 'ignore' })) deleteGoIfb(host, request)
      },
    ]),
  )
}

/** By its derived name; that of a veth which another plugin has made only by the container's end. */
function findHostEnd(host: NetlinkSocket, { network, containerId, ifname, netns }: AttachmentRequest) {
  let hostEnd = getLink(host, { name: hostVethName(network, containerId, ifname) })
  if (hostEnd !== undefined) return hostEnd
  withContainerSocket(netns, container => {
    const link = getLink(container, { name: ifname })
    if (link?.kind === 'veth') hostEnd = findHostLink({ host, container }, link)
  })
  return hostEnd
}

/** The Go plugin's name is that of all the container's attachments to the network: ADD's result tells whose it is. */
function deleteGoIfb(host: NetlinkSocket, request: AttachmentRequest): void {
  const name = goIfbName(request)
  const { prevResult } = request
  if (prevResult !== undefined && !prevResult.interfaces?.some(one => one.name === name && !one.sandbox)) return
  const link = getLink(host, { name })
  if (link?.kind === 'ifb') deleteLink(host, { index: link.index }, { missing: 'ignore' })
}
