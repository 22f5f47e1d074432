/** DEL: finds the attachment's elements by its addresses, or by reading the network's sets, and deletes them. */

import type { Prefix } from '../../address/prefix.ts'
import type { Request } from '../../netlink/message.ts'
import { deleteElements } from '../../netlink/netfilter/element.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { claimDeletions } from './claims.ts'
import { foreignDeletions } from './foreign.ts'
import { masqueradeSet, ownerComment } from './layout.ts'
import { elementsOfSet, masqueradeSets } from './ruleset.ts'
import { applyPlanned } from './transaction.ts'

/**
 * Deletes the attachment's elements, and only its own, and what the Go plugins and iptables-nft keep for it. Subnet sets
 * and rules stay for the next ADD; GC removes them.
 * @param addresses the attachment's: without any, or when one is not found, the network's sets are read; see
 *   `foreignDeletions` for what undefined means there
 */
export function deleteFromNftables(
  socket: NetlinkSocket,
  attachment: Attachment,
  addresses: readonly Prefix[] | undefined,
): void {
  const owner = ownerComment(attachment)
  applyPlanned(socket, 'delete masquerade', () => {
    const claims = addresses?.map(address => ({
      set: masqueradeSet(attachment.network, address),
      element: { key: address.address, comment: owner },
    }))
    const known = claims?.length ? claimDeletions(socket, claims) : undefined
    const own = known ?? deletionsOfOwner(socket, attachment.network, owner)
    return [...own, ...foreignDeletions(socket, attachment, addresses)]
  })
}

function deletionsOfOwner(socket: NetlinkSocket, network: string, owner: string): Request[] {
  return masqueradeSets(socket, network).flatMap(set => {
    const owned = elementsOfSet(socket, set).filter(element => element.comment === owner)
    return owned.length === 0 ? [] : [deleteElements(set, owned)]
  })
}
