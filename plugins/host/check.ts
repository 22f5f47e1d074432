/**
 * CHECK: the host still has the interfaces, addresses and routes of the result. Its ports are not looked at: the container
 * itself listens there by now, and nothing tells it from others.
 */

import { formatMac } from '../../lib/address/mac.ts'
import { parsePrefix, samePrefix } from '../../lib/address/prefix.ts'
import { failCheck, missingRoute, requirePrevResult } from '../../lib/attachment/check.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import type { AttachmentRequest, Interface, IpConfig } from '../../lib/cni/types.ts'
import { type Address, listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { parseHostConfig } from './config.ts'

const remedy = 'restore it on the host, or replace the container if the host is meant to be like this'

export function check(request: AttachmentRequest): void {
  parseHostConfig(request)
  const { interfaces = [], ips = [], routes = [] } = requirePrevResult(request)
  withHostSocket(host => {
    // Those with a sandbox are another plugin's.
    const links = interfaces.map(one => (one.sandbox ? undefined : checkLink(host, one)))
    const addresses = listAddresses(host)
    for (const ip of ips) {
      const link = ip.interface === undefined ? undefined : links[ip.interface]
      if (ip.interface === undefined || link !== undefined) checkAddress(addresses, ip, link)
    }
    const missing = missingRoute(host, routes)
    if (missing !== undefined) {
      failCheck(`the host has no route to ${missing.dst}${missing.gw ? ` via ${missing.gw}` : ''} any more`, remedy)
    }
  })
}

function checkLink(host: NetlinkSocket, { name, mac }: Interface): Link {
  const link = getLink(host, { name })
  if (link === undefined) failCheck(`interface "${name}" is gone from the host`, remedy)
  if (!link.up) failCheck(`interface "${name}" of the host is down`, `"ip link set ${name} up" brings it back`)
  const found = formatMac(link.mac ?? new Uint8Array())
  if (mac && mac.toLowerCase() !== found) {
    failCheck(`interface "${name}" of the host has MAC ${found}, prevResult says ${mac}`, remedy)
  }
  return link
}

function checkAddress(present: readonly Address[], { address }: IpConfig, link: Link | undefined): void {
  const wanted = parsePrefix(address)
  if (wanted === undefined) return
  const found = present.some(
    one => samePrefix(one.prefix, wanted) && (link === undefined || one.index === link.index) && !one.dadFailed,
  )
  if (!found) failCheck(`address ${address} is gone from ${link === undefined ? 'the host' : `"${link.name}"`}`, remedy)
}
