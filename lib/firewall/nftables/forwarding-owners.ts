/** Whose addresses are accepted: what firewalld, whose sources name no owner, has to be told by. */

import { equalAddresses, type IpAddress } from '../../address/address.ts'
import type { Attachment } from '../attachment.ts'
import { acceptedSetPrefix, firewallTable } from './forwarding-objects.ts'
import { ownerComment } from './layout.ts'
import { elementsOfSet, setNames } from './ruleset.ts'
import { openNftables } from './socket.ts'

/** The accepted addresses of the network by their owners' comments. @throws NetlinkError */
function acceptedAddresses(network: string): { owner: string; address: IpAddress }[] {
  const socket = openNftables()
  if (socket === undefined) return []
  try {
    const prefix = acceptedSetPrefix(network)
    return setNames(socket, firewallTable)
      .filter(name => name.startsWith(prefix))
      .flatMap(set => elementsOfSet(socket, { ...firewallTable, set }))
      .flatMap(({ key, comment }) => (comment === undefined ? [] : [{ owner: comment, address: Uint8Array.from(key) }]))
  } finally {
    socket.close()
  }
}

/**
 * Those of one attachment: what it owns, and what it is said to have and nobody else owns.
 * @param said by its result; may be none @throws NetlinkError
 */
export function addressesOfAttachment(attachment: Attachment, said: readonly IpAddress[]): IpAddress[] {
  const own = ownerComment(attachment)
  const accepted = acceptedAddresses(attachment.network)
  const unknown = said.filter(one => !accepted.some(({ address }) => equalAddresses(address, one)))
  return [...accepted.filter(({ owner }) => owner === own).map(({ address }) => address), ...unknown]
}

/** Those whose attachment is not valid. @throws NetlinkError */
export function addressesOfLost(
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
): IpAddress[] {
  const owners = new Set(valid.map(ownerComment))
  return acceptedAddresses(network)
    .filter(({ owner }) => !owners.has(owner))
    .map(({ address }) => address)
}
