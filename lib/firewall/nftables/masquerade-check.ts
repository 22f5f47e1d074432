/** CHECK: whether the attachment's masquerade is as ADD left it. */

import { formatAddress } from '../../address/address.ts'
import type { Prefix } from '../../address/prefix.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { masqueradeChain, masqueradeSet, ownerComment } from './layout.ts'
import { elementFault } from './ruleset.ts'

/** @throws CniError code 105 naming what is missing */
export function checkNftables(socket: NetlinkSocket, attachment: Attachment, addresses: readonly Prefix[]): void {
  const comment = ownerComment(attachment)
  for (const address of addresses) {
    const { set } = masqueradeSet(attachment.network, address)
    const fault = elementFault(socket, masqueradeChain, { set, key: address.address, comment })
    if (fault === undefined) continue
    throw new CniError(
      ErrorCode.checkFailed,
      `masquerade of ${formatAddress(address.address)}: ${fault}`,
      'Something removed it, "nft flush ruleset" or a firewall reload perhaps: create the container again.',
    )
  }
}
