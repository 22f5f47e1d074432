/** What a result tells of the host's side of an attachment: where its packets are routed, and its ports of a bridge. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Result } from '../../lib/cni/types.ts'
import type { IngressPolicy } from '../../lib/firewall/forwarding-intent.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'

export interface HostLinks {
  /** Through these the host routes what containers send and get: the bridge, the gateway of its VLAN, a veth without one. */
  readonly routing: readonly Link[]
  /** Ports of a bridge among them. */
  readonly ports: readonly Link[]
}

/** @throws CniError code 7 where the result names none, 109 where one is not there */
export function findHostLinks(host: NetlinkSocket, { interfaces = [] }: Result, policy: IngressPolicy): HostLinks {
  const links = interfaces.filter(({ sandbox }) => !sandbox).map(({ name }) => mustGetLink(host, name))
  const isPort = (link: Link): boolean => links.some(({ index, kind }) => kind === 'bridge' && index === link.master)
  const routing = links.filter(link => !isPort(link))
  if (routing.length > 0) return { routing, ports: links.filter(isPort) }
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `"ingressPolicy" is "${policy}", but prevResult names no interface of the host`,
    'put "firewall" behind a plugin that connects containers to the host, as bridge, or remove "ingressPolicy"',
  )
}

function mustGetLink(host: NetlinkSocket, name: string): Link {
  const link = getLink(host, { name })
  if (link !== undefined) return link
  throw new CniError(
    ErrorCode.linkMissing,
    `interface "${name}" of prevResult is not on the host`,
    'something removed it since the plugin before this one made it: DEL, and then ADD again',
  )
}
