/** Addresses on the gateway bridge of overlay networks: kept as host-local keeps those of a network of the bridge's name. */

import { formatAddress } from '../lib/address/address.ts'
import { formatPrefix, networkOf, type Prefix } from '../lib/address/prefix.ts'
import type { AttachmentId, Result } from '../lib/cni/types.ts'
import { allocate } from './allocator/allocate.ts'
import { completeRangeSets } from './allocator/range-set.ts'
import { collectGarbage, release } from './allocator/release.ts'

const NETWORKS = '/var/lib/cni/networks'

const directoryOf = (bridge: string): string => `${NETWORKS}/${bridge}`

/**
 * One address beside each gateway, as the result of an address plugin.
 * @param gateways the bridge's own addresses
 * @throws CniError 102 when a subnet is exhausted
 */
export function allocateGatewayAddresses(
  bridge: string,
  gateways: readonly Prefix[],
  attachment: AttachmentId & { readonly netns: string },
): Result {
  const { containerId, ifname, netns } = attachment
  const rangeSets = completeRangeSets(
    gateways.map(gateway => [{ subnet: networkOf(gateway), gateway: gateway.address }]),
  )
  const requested = rangeSets.map(() => undefined)
  const allocations = allocate({ directory: directoryOf(bridge), containerId, ifname, netns, rangeSets, requested })
  return {
    ips: allocations.map(({ address, range }) => ({
      address: formatPrefix({ address, length: range.subnet.length }),
      gateway: formatAddress(range.gateway),
    })),
  }
}

/** Gives back what the attachment holds; that may be nothing. */
export function releaseGatewayAddresses(bridge: string, attachment: AttachmentId): void {
  release(directoryOf(bridge), attachment)
}

/** Gives back what attachments hold whose container is gone. */
export function collectGatewayGarbage(bridge: string): void {
  collectGarbage(directoryOf(bridge), undefined)
}
