/** What is wanted for one attachment: the configuration's mappings and the addresses that plugins before have given. */

import { formatAddress, isUnspecified } from '../../lib/address/address.ts'
import { type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { mappingName } from '../../lib/attachment/host-port.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import type { PortForwarding } from '../../lib/firewall/port-forwarding.ts'
import { getLink } from '../../lib/netlink/route/link/index.ts'
import { statusOf } from '../../lib/sys/file.ts'
import type { PortmapConfig } from './config.ts'

/** @throws CniError code 7 where a mapping cannot be served, 8 for a namespace that is gone */
export function forwardingOf(request: AttachmentRequest, config: PortmapConfig, result: Result): PortForwarding {
  const addresses = containerAddresses(request, result)
  refuseUnreachable(request, config, addresses)
  const namespace = statusOf(request.netns)?.inode
  if (namespace === undefined) {
    throw new CniError(ErrorCode.invalidNetns, `network namespace ${JSON.stringify(request.netns)} is gone`)
  }
  const preserveClientAddress = config.preserveClientAddress && !isOnBridge(result)
  return { ...config, preserveClientAddress, addresses, namespace }
}

/** The first of each family, of the attachment's interface or of one that the result does not name. */
function containerAddresses({ ifname }: AttachmentRequest, result: Result): Prefix[] {
  const found = new Map<number, Prefix>()
  for (const ip of result.ips ?? []) {
    const owner = ip.interface === undefined ? undefined : result.interfaces?.[ip.interface]
    if (owner !== undefined && (owner.name !== ifname || !owner.sandbox)) continue
    const prefix = parsePrefix(ip.address)
    if (prefix !== undefined && !found.has(prefix.address.length)) found.set(prefix.address.length, prefix)
  }
  return [...found.values()]
}

function refuseUnreachable(
  { ifname }: AttachmentRequest,
  { mappings }: PortmapConfig,
  addresses: readonly Prefix[],
): void {
  if (addresses.length === 0) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `prevResult has no address of interface "${ifname}" that ports could lead to`,
      'put portmap behind a plugin that gives the container an address, or leave "portMappings" out',
    )
  }
  for (const [index, { hostAddress }] of mappings.entries()) {
    if (hostAddress === undefined || addresses.some(({ address }) => address.length === hostAddress.length)) continue
    const [own, other] = hostAddress.length === 4 ? ['IPv4', 'IPv6'] : ['IPv6', 'IPv4']
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `${mappingName(index)}.hostIP is ${formatAddress(hostAddress)}, but the container has no ${own} address`,
      isUnspecified(hostAddress)
        ? `leave hostIP out, or give the container an ${own} address`
        : `give an ${other} address of the host, or the container an ${own} address`,
    )
  }
}

/** Whether neighbours reach the container without the host, and would be answered past it. Unless it is known that not. */
function isOnBridge({ interfaces = [] }: Result): boolean {
  const ofHost = interfaces.filter(({ sandbox }) => !sandbox)
  return withHostSocket(
    host => ofHost.length === 0 || ofHost.some(({ name }) => getLink(host, { name })?.kind !== 'veth'),
  )
}
