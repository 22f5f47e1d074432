/** ADD: one element for each address, and what it needs around it. */

import type { Prefix } from '../../address/prefix.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { NetlinkError } from '../../netlink/error.ts'
import type { Request } from '../../netlink/message.ts'
import { applyBatch } from '../../netlink/netfilter/batch.ts'
import { chainFormat, getChain } from '../../netlink/netfilter/chain.ts'
import {
  createElements,
  deleteElements,
  elementFormat,
  elementsOf,
  getElement,
  type SetElement,
} from '../../netlink/netfilter/element.ts'
import { getSet, type SetName, setFormat } from '../../netlink/netfilter/set.ts'
import { createTable, getTable, tableFormat } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { Errno } from '../../sys/errno.ts'
import type { Attachment } from '../attachment.ts'
import { cnikitTable, masqueradeChain, masqueradeSet, ownerComment } from './layout.ts'
import { createMasqueradeChain, createSubnet } from './masquerade-objects.ts'
import { isNetlinkError } from './transaction.ts'

/** Each refusal means that another process created or removed one of the few objects concerned. */
const ATTEMPTS = 20

/** An address to be masqueraded, the set it goes into and the element it becomes there. */
interface Claim {
  readonly address: Prefix
  readonly set: SetName
  readonly element: SetElement
}

/**
 * Masquerades the addresses. Repeating it changes nothing; an address that an earlier attachment of the network left
 * behind becomes this one's.
 *
 * There is no lock: all creations are exclusive, so that of several processes that find something missing one creates
 * it, and the others are refused as a whole and look again.
 */
export function addToNftables(socket: NetlinkSocket, attachment: Attachment, addresses: readonly Prefix[]): void {
  const claims = addresses.map(address => ({
    address,
    set: masqueradeSet(attachment.network, address),
    element: { key: address.address, comment: ownerComment(attachment) },
  }))
  let refusal: NetlinkError | undefined
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    refusal = refused(socket, whatIsMissing(socket, attachment, claims))
    if (refusal === undefined) return
  }
  if (refusal !== undefined) throw explained(refusal)
}

function create(claim: Claim): Request {
  return createElements(claim.set, [claim.element], { exclusive: true })
}

/** Applies the changes; returns the error that says that objects are missing or there already. */
function refused(socket: NetlinkSocket, changes: readonly Request[]): NetlinkError | undefined {
  try {
    applyBatch(socket, changes)
    return undefined
  } catch (error) {
    if (isNetlinkError(error, Errno.ENOENT, Errno.EEXIST)) return error
    throw error
  }
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
  if (withoutSet.length > 0) changes.push(...missingTableAndChain(socket))
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

function missingTableAndChain(socket: NetlinkSocket): Request[] {
  const table = socket.get(tableFormat, getTable(cnikitTable))
  const chain = socket.get(chainFormat, getChain(masqueradeChain))
  return [
    ...(table === undefined ? [createTable(cnikitTable, { exclusive: true })] : []),
    ...(chain === undefined ? createMasqueradeChain() : []),
  ]
}

function explained(refusal: NetlinkError): CniError {
  if (refusal.errno === Errno.ENOENT) {
    return new CniError(
      ErrorCode.kernelFeatureMissing,
      `masquerade with nftables: ${refusal.message}`,
      'The kernel needs NAT for nftables in the inet family: Linux 5.2, modules nft_chain_nat and nft_masq. ' +
        'Without them set "ipMasqBackend": "iptables".',
      { cause: refusal },
    )
  }
  return new CniError(
    ErrorCode.tryAgainLater,
    `masquerade with nftables: others changed table "inet cnikit" during each of ${ATTEMPTS} attempts: ${refusal.message}`,
    'Find out with "nft monitor" which program keeps changing it.',
    { cause: refusal },
  )
}
