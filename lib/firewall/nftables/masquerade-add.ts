/** ADD: one element for each address, and what it needs around it. */

import type { Prefix } from '../../address/prefix.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { type Claim, missingClaims } from './claims.ts'
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

/** An address to be masqueraded. */
interface AddressClaim extends Claim {
  readonly address: Prefix
}

/**
 * Masquerades the addresses. Repeating it changes nothing; an address that an earlier attachment of the network left
 * behind becomes this one's.
 */
export function addToNftables(socket: NetlinkSocket, attachment: Attachment, addresses: readonly Prefix[]): void {
  const claims: AddressClaim[] = addresses.map(address => ({
    address,
    set: masqueradeSet(attachment.network, address),
    element: { key: address.address, comment: ownerComment(attachment) },
  }))
  createMissing(socket, creation, () =>
    missingClaims(socket, claims, withoutSet => [
      ...missingTableAndChain(socket, masqueradeChain, createMasqueradeChain),
      ...withoutSet.flatMap(claim => createSubnet(attachment.network, claim.address)),
    ]),
  )
}
