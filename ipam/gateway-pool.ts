/** Addresses on the gateway bridge of overlay networks: kept as host-local keeps those of a network of the bridge's name. */

import { formatAddress } from '../lib/address/address.ts'
import { formatPrefix, networkOf, type Prefix } from '../lib/address/prefix.ts'
import type { AttachmentId, Result } from '../lib/cni/types.ts'
import { statusOf } from '../lib/sys/file.ts'
import { allocate } from './allocator/allocate.ts'
import { completeRangeSets } from './allocator/range-set.ts'
import { collectGarbage, release } from './allocator/release.ts'
import { withState } from './allocator/state.ts'

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

/** The attachments that hold addresses. */
export function gatewayOwners(bridge: string): AttachmentId[] {
  const directory = directoryOf(bridge)
  if (statusOf(directory) === undefined) return []
  return withState(directory, 'look', ({ files }) =>
    files.list().flatMap(address => {
      const entry = files.read(address)
      if (entry.kind !== 'taken') return []
      const { containerId, ifname } = entry.owner
      return ifname === undefined ? [] : [{ containerId, ifname }]
    }),
  )
}

/** Gives back what no valid attachment holds. */
export function collectGatewayGarbage(bridge: string, valid: readonly AttachmentId[]): void {
  collectGarbage(directoryOf(bridge), valid)
}
