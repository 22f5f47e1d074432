/**
 * How traffic is limited. What the container receives is what its veth's other end sends, which a token bucket (tbf) can
 * delay. What it sends comes in there, where nothing can be delayed; it is led through an ifb, which sends it on:
 *
 *     container eth0 <── tbf ── veth... <───────────────────────── bridge, routes
 *     container eth0 ────────── veth... ──redirect──> bwp... ── tbf ──> bridge, routes (as if it came from veth...)
 */

import { randomMac } from '../../lib/address/mac.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Request } from '../../lib/netlink/message.ts'
import { addRedirectRequest, deleteRedirectRequest, listReceiveFilters } from '../../lib/netlink/route/filter/index.ts'
import { addLinkRequest, deleteLink, getLink, type Link, setLinkRequest } from '../../lib/netlink/route/link/index.ts'
import {
  addQdiscRequest,
  deleteQdiscRequest,
  type QdiscTarget,
  qdiscHandle,
  type TokenBucket,
} from '../../lib/netlink/route/qdisc/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { explainRefusal } from './kernel-support.ts'

/** Behind the priorities that tc(8) gives by itself (49152 and below), so that other programs' filters come first. */
export const REDIRECT_PRIORITY = 49153

/** "1:", as the Go plugin's. */
function bucketPlace(index: number): QdiscTarget {
  return { index, kind: 'tbf', parent: 'root', handle: qdiscHandle(1) }
}

/**
 * Where filters of what a link receives are kept. Not "ingress", which does the same: programs that want a clsact of their
 * own (Cilium, and other users of BPF) find the one that they need, and do not put it in the place of this one.
 */
function filterPlace(index: number): QdiscTarget {
  return { index, kind: 'clsact', parent: 'ingress' }
}

/** Limits what a link sends. @throws CniError codes 101 and 104, NetlinkError */
export function addBucket(host: NetlinkSocket, link: { index: number; name: string }, tbf: TokenBucket): void {
  execute(host, [addQdiscRequest({ ...bucketPlace(link.index), tbf })], link.name)
}

/** @returns whether there was one of ours */
export function removeBucket(host: NetlinkSocket, { index }: { readonly index: number }): boolean {
  return succeeds(host, deleteQdiscRequest(bucketPlace(index)))
}

/** Makes the ifb, up, for a veth whose limits it takes over. @throws CniError code 101, NetlinkError */
export function addIfb(
  host: NetlinkSocket,
  { name, alias }: { readonly name: string; readonly alias: string },
  { mtu, txQueueLength }: Link,
): Link {
  // An address given at creation is not changed again by udev (MACAddressPolicy), so the result stays true. In one message
  // to the kernel: a plugin that is killed leaves no ifb without the alias that GC knows it by.
  const requests = [
    addLinkRequest({ name, kind: 'ifb', mac: randomMac(), mtu, txQueueLength, up: true }),
    setLinkRequest({ name, alias }),
  ]
  try {
    execute(host, requests, name)
    const made = getLink(host, { name })
    if (made === undefined) throw new CniError(ErrorCode.tryAgainLater, `ifb "${name}" vanished while it was made`)
    return made
  } catch (error) {
    deleteLink(host, { name }, { missing: 'ignore' })
    throw error
  }
}

/**
 * Leads what a link receives through an ifb.
 * @returns whether the place for filters was made, and was not there yet
 * @throws CniError code 101, NetlinkError
 */
export function addRedirect(host: NetlinkSocket, link: Link, ifb: { readonly index: number }): boolean {
  const [failure] = host.tryAll([addQdiscRequest(filterPlace(link.index))])
  // Somebody else's clsact, or an ingress qdisc: it takes filters of any number of programs.
  const made = failure === undefined
  if (failure !== undefined && failure.errno !== Errno.EEXIST) throw explainRefusal(failure, link.name)
  try {
    execute(host, [addRedirectRequest({ index: link.index, priority: REDIRECT_PRIORITY }, ifb.index)], link.name)
  } catch (error) {
    if (made) removeFilterPlace(host, link)
    throw error
  }
  return made
}

/** @returns whether there was one of ours */
export function removeRedirect(host: NetlinkSocket, { index }: { readonly index: number }): boolean {
  return succeeds(host, deleteRedirectRequest({ index, priority: REDIRECT_PRIORITY }))
}

/** Unless others have come to use it. */
export function removeFilterPlace(host: NetlinkSocket, { index }: { readonly index: number }): void {
  if (listReceiveFilters(host, index).length === 0) succeeds(host, deleteQdiscRequest(filterPlace(index)))
}

function execute(host: NetlinkSocket, requests: readonly Request[], link: string): void {
  for (const failure of host.tryAll(requests)) if (failure !== undefined) throw explainRefusal(failure, link)
}

/** What the kernel says of what is not there, is of another kind, or stands on a link that is gone. */
const absent: readonly number[] = [Errno.ENOENT, Errno.EINVAL, Errno.ENODEV]

function succeeds(host: NetlinkSocket, request: Request): boolean {
  const [failure] = host.tryAll([request])
  if (failure === undefined) return true
  if (absent.includes(failure.errno)) return false
  throw failure
}
