/** STATUS: whether containers can be let through, with what the configuration names and what else drops on this host. */

import { answerStatus } from '../../lib/attachment/status.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { forwardingStatus } from '../../lib/firewall/forwarding.ts'
import { parseFirewallConfig } from './config.ts'

export function status(request: NetworkRequest): void {
  const { backend, options } = parseFirewallConfig(request)
  answerStatus(() => forwardingStatus(backend, options))
}
