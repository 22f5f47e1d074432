/** DEL: finds the attachment's elements by its addresses, or by reading the network's sets, and deletes them. */

import type { Prefix } from '../../address/prefix.ts'
import type { Request } from '../../netlink/message.ts'
import { deleteElements, elementFormat, elementsOf, getElement } from '../../netlink/netfilter/element.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
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
    const known = addresses?.length ? deletionsOfAddresses(socket, attachment.network, owner, addresses) : undefined
    const own = known ?? deletionsOfOwner(socket, attachment.network, owner)
    return [...own, ...foreignDeletions(socket, attachment, addresses)]
  })
}

/** The deletion of these addresses' elements; undefined when they are not all there or not all the owner's. */
function deletionsOfAddresses(
  socket: NetlinkSocket,
  network: string,
  owner: string,
  addresses: readonly Prefix[],
): Request[] | undefined {
  const answers = socket.getAll(
    elementFormat,
    addresses.map(address => getElement(masqueradeSet(network, address), address.address)),
  )
  const owned = answers.filter(answer => answer !== undefined && elementsOf(answer)[0]?.comment === owner)
  if (owned.length < addresses.length) return undefined
  return addresses.map(address => deleteElements(masqueradeSet(network, address), [{ key: address.address }]))
}

function deletionsOfOwner(socket: NetlinkSocket, network: string, owner: string): Request[] {
  return masqueradeSets(socket, network).flatMap(set => {
    const owned = elementsOfSet(socket, set).filter(element => element.comment === owner)
    return owned.length === 0 ? [] : [deleteElements(set, owned)]
  })
}
