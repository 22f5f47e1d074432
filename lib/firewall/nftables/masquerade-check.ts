/** CHECK: whether the attachment's masquerade is as ADD left it. */

import { formatAddress } from '../../address/address.ts'
import type { Prefix } from '../../address/prefix.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import { elementFormat, elementsOf, getElement } from '../../netlink/netfilter/element.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { masqueradeChain, masqueradeSet, ownerComment } from './layout.ts'
import { chainNames, masqueradeRules } from './ruleset.ts'

/** @throws CniError code 105 naming what is missing */
export function checkNftables(socket: NetlinkSocket, attachment: Attachment, addresses: readonly Prefix[]): void {
  const owner = ownerComment(attachment)
  const { table, family, chain } = masqueradeChain
  const rules = masqueradeRules(socket)
  const fail = (address: Prefix, what: string): never => {
    throw new CniError(
      ErrorCode.checkFailed,
      `masquerade of ${formatAddress(address.address)}: ${what} in nftables table "${family} ${table}"`,
      'Something removed it, "nft flush ruleset" or a firewall reload perhaps: create the container again.',
    )
  }
  for (const address of addresses) {
    const set = masqueradeSet(attachment.network, address)
    const answer = socket.get(elementFormat, getElement(set, address.address))
    const [element] = answer === undefined ? [] : elementsOf(answer)
    if (element === undefined) fail(address, `set "${set.set}" does not have it`)
    else if (element.comment !== owner) fail(address, `set "${set.set}" has it for "${element.comment ?? ''}"`)
    else if (!chainNames(socket).includes(chain)) fail(address, `there is no chain "${chain}"`)
    else if (!rules.has(set.set)) fail(address, `chain "${chain}" has no rule for set "${set.set}"`)
  }
}
