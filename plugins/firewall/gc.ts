/** GC: what this network's lost attachments have left behind. */

import type { GcRequest } from '../../lib/cni/types.ts'
import { gcForwarding } from '../../lib/firewall/forwarding.ts'
import { parseFirewallConfig } from './config.ts'

export function gc(request: GcRequest): void {
  const { backend, options } = parseFirewallConfig(request)
  const { validAttachments, network } = request
  if (validAttachments !== undefined) gcForwarding(backend, network, validAttachments, options)
}
