/** The host's end of the container's veth, which is where its traffic can be limited. */

import { findHostLink } from '../../lib/attachment/host-link.ts'
import type { Sockets } from '../../lib/attachment/sockets.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'

/** @throws CniError code 7 for a container without a veth to the host */
export function findHostEnd(sockets: Sockets, { ifname, netns }: AttachmentRequest): Link {
  const link = getLink(sockets.container, { name: ifname })
  if (link === undefined) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `there is no interface "${ifname}" in the namespace "${netns}"`,
      'bandwidth limits what a plugin before it in the chain has made: put it behind that one',
    )
  }
  const hostEnd = link.kind === 'veth' ? findHostLink(sockets, link) : undefined
  if (hostEnd !== undefined) return hostEnd
  const what = link.kind === 'veth' ? 'a veth whose other end is not on the host' : `of kind "${link.kind ?? 'device'}"`
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `container interface "${ifname}" has no veth peer on the host: it is ${what}`,
    'limits are set on the host\'s end of a veth, as bridge and ptp make it: use one of these, or remove "bandwidth"',
  )
}
