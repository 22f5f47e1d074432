/** GC: what this network's lost attachments have left behind. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { hostVethName, linkAliasPrefix } from '../../lib/cni/names.ts'
import type { GcRequest } from '../../lib/cni/types.ts'
import { deleteLinks, type Link, listLinks } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { ifbName } from './ifb-name.ts'
import { removeBucket, removeRedirect } from './shaping.ts'

export function gc({ network, validAttachments }: GcRequest): void {
  if (validAttachments === undefined) return
  const ifbs = new Set<string>()
  const veths = new Set<string>()
  for (const { containerId, ifname } of validAttachments) {
    ifbs.add(ifbName({ network, containerId, ifname }))
    veths.add(hostVethName(network, containerId, ifname))
  }
  withHostSocket(host =>
    runAll([
      // Commonly there are none any more: the plugin that has made them comes before this one.
      () => {
        for (const veth of lostLinks(host, 'veth', network, veths)) {
          removeRedirect(host, veth)
          removeBucket(host, veth)
        }
      },
      () => deleteLinks(host, lostLinks(host, 'ifb', network, ifbs)),
    ]),
  )
}

/** The network's links are known by their alias; those of valid attachments by their derived names. */
function lostLinks(host: NetlinkSocket, kind: string, network: string, validNames: ReadonlySet<string>): Link[] {
  const prefix = linkAliasPrefix(network)
  return listLinks(host, { kind }).filter(link => link.alias?.startsWith(prefix) && !validNames.has(link.name))
}
