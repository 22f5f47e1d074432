/** ADD: what the container receives and sends is limited; the ifb through which it sends is added to the result. */

import { describeInterface } from '../../lib/attachment/result.ts'
import { withSockets } from '../../lib/attachment/sockets.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { linkAlias } from '../../lib/cni/names.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import { listReceiveFilters } from '../../lib/netlink/route/filter/index.ts'
import { deleteLink, getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import { getQdisc, type TokenBucket } from '../../lib/netlink/route/qdisc/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { parseBandwidthConfig } from './config.ts'
import { findHostEnd } from './host-end.ts'
import { ifbName } from './ifb-name.ts'
import {
  addBucket,
  addIfb,
  addRedirect,
  REDIRECT_PRIORITY,
  removeBucket,
  removeFilterPlace,
  removeRedirect,
} from './shaping.ts'
import { refuseSmallBurst, tokenBucketOf } from './token-bucket.ts'

export function add(request: AttachmentRequest): Result {
  const { ingress, egress, latencyMs } = parseBandwidthConfig(request)
  const { prevResult } = request
  if (prevResult === undefined) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      'required prevResult is missing: bandwidth must be called as chained plugin',
      'put it behind the plugin that makes the interface',
    )
  }
  if (ingress === undefined && egress === undefined) return prevResult
  return withSockets(request.netns, sockets => {
    const { host } = sockets
    const hostEnd = findHostEnd(sockets, request)
    for (const limit of [ingress, egress]) if (limit !== undefined) refuseSmallBurst(limit, hostEnd)
    refuseShaped(host, hostEnd)
    return runTransaction(request.environment, transaction => {
      if (ingress !== undefined) {
        transaction.step(
          `limit what "${hostEnd.name}" sends to the container`,
          () => addBucket(host, hostEnd, tokenBucketOf(ingress, latencyMs)),
          () => removeBucket(host, hostEnd),
        )
      }
      if (egress === undefined) return prevResult
      const ifb = limitSending(transaction, host, request, hostEnd, tokenBucketOf(egress, latencyMs))
      return { ...prevResult, interfaces: [...(prevResult.interfaces ?? []), describeInterface(ifb)] }
    })
  })
}

function limitSending(
  transaction: Transaction,
  host: NetlinkSocket,
  request: AttachmentRequest,
  hostEnd: Link,
  bucket: TokenBucket,
): Link {
  const name = ifbName(request)
  const alias = linkAlias(request.network, request.containerId, request.ifname)
  const ifb = transaction.step(
    `create ifb "${name}"`,
    () => {
      removeLeftIfb(host, name, alias)
      return addIfb(host, { name, alias }, hostEnd)
    },
    () => deleteLink(host, { name }, { missing: 'ignore' }),
  )
  // It goes with the ifb.
  transaction.step(`limit what "${name}" sends on`, () => addBucket(host, ifb, bucket))
  transaction.step(
    `lead what "${hostEnd.name}" receives through "${name}"`,
    () => addRedirect(host, hostEnd, ifb),
    madePlace => {
      removeRedirect(host, hostEnd)
      if (madePlace) removeFilterPlace(host, hostEnd)
    },
  )
  return ifb
}

/** The host's end takes one limit: a repeated ADD finds that of the first. @throws CniError code 104 */
function refuseShaped(host: NetlinkSocket, { index, name }: Link): void {
  const qdisc = getQdisc(host, { index, parent: 'root' })
  const redirected = listReceiveFilters(host, index).some(({ priority }) => priority === REDIRECT_PRIORITY)
  if (qdisc === undefined && !redirected) return
  throw new CniError(
    ErrorCode.conflict,
    redirected || qdisc?.kind === 'tbf'
      ? `the traffic of "${name}" is limited already`
      : `"${name}" already has a qdisc of kind "${qdisc?.kind}"`,
    `DEL removes what an ADD has made; "tc qdisc delete dev ${name} root" what somebody else has`,
  )
}

/** Nothing is led through it, or refuseShaped() would have found that: it is left by an ADD that was killed. */
function removeLeftIfb(host: NetlinkSocket, name: string, alias: string): void {
  const link = getLink(host, { name })
  if (link === undefined) return
  if (link.kind === 'ifb' && link.alias === alias) {
    deleteLink(host, { index: link.index }, { missing: 'ignore' })
    return
  }
  throw new CniError(
    ErrorCode.conflict,
    `"${name}" already exists, but is not the ifb of this attachment`,
    `remove it with "ip link delete ${name}"`,
  )
}
