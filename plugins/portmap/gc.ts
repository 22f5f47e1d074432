/** GC: ports of attachments that nobody knows any more. */

import type { GcRequest } from '../../lib/cni/types.ts'
import { gcPortForwarding } from '../../lib/firewall/port-forwarding.ts'

export function gc({ network, validAttachments, environment }: GcRequest): void {
  if (validAttachments !== undefined) gcPortForwarding(network, validAttachments, { environment })
}
