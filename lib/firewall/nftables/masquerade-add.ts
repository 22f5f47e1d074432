/** ADD: one element for each address, and what it needs around it. */

import type { Prefix } from '../../address/prefix.ts'
import type { Request } from '../../netlink/message.ts'
import {
  createElements,
  deleteElements,
  elementFormat,
  elementsOf,
  getElement,
  type SetElement,
} from '../../netlink/netfilter/element.ts'
import { getSet, type SetName, setFormat } from '../../netlink/netfilter/set.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { cnikitTable, masqueradeChain, masqueradeSet, ownerComment } from './layout.ts'
import { createMasqueradeChain, createSubnet } from './masquerade-objects.ts'
import { missingTableAndChain } from './ruleset.ts'
import { type Creation, createMissing } from './transaction.ts'

const creation: Creation = {
  what: 'masquerade with nftables',
  table: cnikitTable,
  needs:
    'The kernel needs NAT for nftables in the inet family: Linux 5.2, modules nft_chain_nat and nft_masq. ' +
    'Without them set "ipMasqBackend": "iptables".',
}

/** An address to be masqueraded, the set it goes into and the element it becomes there. */
interface Claim {
  readonly address: Prefix
  readonly set: SetName
  readonly element: SetElement
}

/**
 * Masquerades the addresses. Repeating it changes nothing; an address that an earlier attachment of the network left
 * behind becomes this one's.
 */
export function addToNftables(socket: NetlinkSocket, attachment: Attachment, addresses: readonly Prefix[]): void {
  const claims = addresses.map(address => ({
    address,
    set: masqueradeSet(attachment.network, address),
    element: { key: address.address, comment: ownerComment(attachment) },
  }))
  createMissing(socket, creation, () => whatIsMissing(socket, attachment, claims))
}

function create(claim: Claim): Request {
  return createElements(claim.set, [claim.element], { exclusive: true })
}

/**
 * Looks before it creates: two lookups cost 0.02 ms, and a batch that is refused waits some 10 ms for the kernel to roll
 * it back. The table and the chain are only looked for when a set is missing.
 */
function whatIsMissing(socket: NetlinkSocket, attachment: Attachment, claims: readonly Claim[]): Request[] {
  const changes: Request[] = []
  const bySet = [...new Map(claims.map(claim => [claim.set.set, claim])).values()]
  const sets = socket.getAll(
    setFormat,
    bySet.map(claim => getSet(claim.set)),
  )
  const withoutSet = bySet.filter((_, index) => sets[index] === undefined)
  if (withoutSet.length > 0) changes.push(...missingTableAndChain(socket, masqueradeChain, createMasqueradeChain))
  for (const claim of withoutSet) changes.push(...createSubnet(attachment.network, claim.address))

  const elements = socket.getAll(
    elementFormat,
    claims.map(claim => getElement(claim.set, claim.element.key)),
  )
  for (const [index, claim] of claims.entries()) {
    const answer = elements[index]
    const [present] = answer === undefined ? [] : elementsOf(answer)
    if (present === undefined) changes.push(create(claim))
    // The allocator gave the address to this attachment: whoever had it before is gone.
    else if (present.comment !== claim.element.comment) {
      changes.push(deleteElements(claim.set, [{ key: present.key }]), create(claim))
    }
  }
  return changes
}
