/** Names of the links through which what containers send is led (ifb), derived from the attachment. */

import { attachmentDigest } from '../../lib/cni/names.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { sha512 } from '../../lib/sys/host.ts'

/** As the Go plugin, so that users and tools recognise it. */
const PREFIX = 'bwp'
/** With the prefix IFNAMSIZ - 1 bytes, linux/if.h. */
const DIGITS = 12

type Attachment = Pick<AttachmentRequest, 'network' | 'containerId' | 'ifname'>

/** One for each attachment. */
export function ifbName({ network, containerId, ifname }: Attachment): string {
  return PREFIX + attachmentDigest(network, containerId, ifname).slice(0, DIGITS)
}

/** What the Go plugin calls it: one for all attachments of a container to a network, of which the second ADD fails. */
export function goIfbName({ network, containerId }: Attachment): string {
  return PREFIX + sha512(network + containerId).slice(0, DIGITS)
}
