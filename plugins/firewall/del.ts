/** DEL: nothing of the attachment is let through any more. */

import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deleteForwarding } from '../../lib/firewall/forwarding.ts'
import { parseFirewallConfig } from './config.ts'
import { addressesOf } from './forwarding.ts'

export function del(request: AttachmentRequest): void {
  const { backend, options } = parseFirewallConfig(request)
  const { prevResult } = request
  // Undefined is not the same as none: then everything of the attachment is looked for.
  deleteForwarding(backend, request, prevResult && addressesOf(prevResult), options)
}
