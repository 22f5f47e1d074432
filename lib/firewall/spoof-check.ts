/**
 * MAC spoof check: from a container's port the bridge only takes frames whose source is the container's own address.
 * Everything here works on the network namespace of the calling thread, which must be the host's.
 */

import { formatMac } from '../address/mac.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import type { Attachment } from './attachment.ts'
import { attachmentWords } from './nftables/layout.ts'
import { elementFault } from './nftables/ruleset.ts'
import { openNftables, requireNftables } from './nftables/socket.ts'
import { addAllowedSource, deleteAllowedSource, gcAllowedSources } from './nftables/spoof-check-changes.ts'
import { type AllowedSource, allowedSources, sourceKey, spoofCheckChain } from './nftables/spoof-check-objects.ts'
import type { PendingClose } from './pending-close.ts'

export { type AllowedSource, CHECKED_PORTS_GROUP } from './nftables/spoof-check-objects.ts'

function requireForSpoofCheck(): NetlinkSocket {
  return requireNftables('MAC spoof check with nftables', 'remove "macspoofchk"')
}

/**
 * Allows the one source address on the port, which must be in {@link CHECKED_PORTS_GROUP} to be checked at all.
 * Repeating it changes nothing.
 * @throws CniError, code 101 where the kernel cannot do it, NetlinkError; nothing is changed then
 */
export function addSpoofCheck(attachment: Attachment, source: AllowedSource): void {
  const socket = requireForSpoofCheck()
  try {
    addAllowedSource(socket, attachment, source)
  } finally {
    socket.close()
  }
}

/**
 * Removes what the attachment has been allowed. Nothing there is fine.
 * @param source what ADD allowed: it saves reading the whole set. Leave it out when nobody knows it.
 */
export function deleteSpoofCheck(attachment: Attachment, source?: AllowedSource): PendingClose {
  const socket = openNftables()
  const close = () => socket?.close()
  try {
    if (socket !== undefined) deleteAllowedSource(socket, attachment, source)
    return { close }
  } catch (error) {
    close()
    throw error
  }
}

/** Whether frames are checked as ADD left it, apart from the port's group. @throws CniError code 105 */
export function checkSpoofCheck(attachment: Attachment, source: AllowedSource): void {
  const socket = requireForSpoofCheck()
  try {
    const element = { set: allowedSources.set, key: sourceKey(source), comment: attachmentWords(attachment) }
    const fault = elementFault(socket, spoofCheckChain, element)
    if (fault === undefined) return
    throw new CniError(
      ErrorCode.checkFailed,
      `MAC spoof check of ${formatMac(source.mac)} on "${source.port}": ${fault}`,
      'Something removed it, "nft flush ruleset" or a firewall reload perhaps: create the container again.',
    )
  } finally {
    socket.close()
  }
}

/** Removes what attachments of the network that are not listed have been allowed, and the table with the last of all. */
export function gcSpoofCheck(
  network: string,
  validAttachments: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
): void {
  const socket = openNftables()
  try {
    if (socket !== undefined) gcAllowedSources(socket, network, validAttachments)
  } finally {
    socket?.close()
  }
}

/** Whether the check can work here. @throws CniError saying what the kernel lacks */
export function spoofCheckStatus(): void {
  requireForSpoofCheck().close()
}
