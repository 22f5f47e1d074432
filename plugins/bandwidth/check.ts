/** CHECK: the limits stand in the kernel as ADD has set them, and all that the container sends is led through its ifb. */

import { failCheck, requirePrevResult } from '../../lib/attachment/check.ts'
import { withSockets } from '../../lib/attachment/sockets.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { listReceiveFilters } from '../../lib/netlink/route/filter/index.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import { getQdisc, type TokenBucket } from '../../lib/netlink/route/qdisc/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { parseBandwidthConfig } from './config.ts'
import { findHostEnd } from './host-end.ts'
import { goIfbName, ifbName } from './ifb-name.ts'
import { tokenBucketOf } from './token-bucket.ts'

export function check(request: AttachmentRequest): void {
  const { ingress, egress, latencyMs } = parseBandwidthConfig(request)
  requirePrevResult(request)
  if (ingress === undefined && egress === undefined) return
  withSockets(request.netns, sockets => {
    const { host, container } = sockets
    if (getLink(container, { name: request.ifname }) === undefined) {
      failCheck(`interface "${request.ifname}" is gone from the container`)
    }
    const hostEnd = findHostEnd(sockets, request)
    if (ingress !== undefined) checkBucket(host, hostEnd, tokenBucketOf(ingress, latencyMs))
    if (egress !== undefined) checkBucket(host, checkIfb(host, hostEnd, request), tokenBucketOf(egress, latencyMs))
  })
}

/** The ifb, up and with the container's traffic led through it. That of the Go plugin will do. */
function checkIfb(host: NetlinkSocket, hostEnd: Link, request: AttachmentRequest): Link {
  const name = ifbName(request)
  const ifb = getLink(host, { name }) ?? getLink(host, { name: goIfbName(request) })
  if (ifb === undefined) failCheck(`ifb "${name}" is gone`)
  if (!ifb.up) failCheck(`ifb "${ifb.name}" is down`, `"ip link set ${ifb.name} up" brings it back`)
  if (!listReceiveFilters(host, hostEnd.index).some(({ redirectsTo }) => redirectsTo.includes(ifb.index))) {
    failCheck(
      `what "${hostEnd.name}" receives is not led through "${ifb.name}" any more: the container sends unlimited`,
    )
  }
  return ifb
}

/** A microsecond in ticks: the Go plugin rounds to it. */
const ROUNDING_TICKS = 16

function checkBucket(host: NetlinkSocket, { index, name }: Link, wanted: TokenBucket): void {
  const qdisc = getQdisc(host, { index, parent: 'root' })
  if (qdisc?.tbf === undefined) {
    failCheck(
      `the limit of "${name}" is gone: ${qdisc === undefined ? 'it has no qdisc' : `its qdisc is ${qdisc.kind}`}`,
    )
  }
  const { rate, buffer, limit } = qdisc.tbf
  if (rate !== wanted.rate) failCheck(`the limit of "${name}" is ${rate} bytes per second, not ${wanted.rate}`)
  if (Math.abs(buffer - wanted.buffer) > ROUNDING_TICKS) {
    failCheck(`the burst of "${name}" takes ${buffer} ticks of 64 ns, not ${wanted.buffer}`)
  }
  if (limit !== wanted.limit) failCheck(`"${name}" lets ${limit} bytes wait, not ${wanted.limit}`)
}
