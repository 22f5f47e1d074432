/** CHECK: the ports still lead to the container. */

import { requirePrevResult } from '../../lib/attachment/check.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { checkPortForwarding } from '../../lib/firewall/port-forwarding.ts'
import { parsePortmapConfig } from './config.ts'
import { forwardingOf } from './forwarding.ts'

export function check(request: AttachmentRequest): void {
  const config = parsePortmapConfig(request)
  const result = requirePrevResult(request)
  if (config.mappings.length === 0) return
  const { environment } = request
  checkPortForwarding(config.backend, request, forwardingOf(request, config, result), { environment })
}
