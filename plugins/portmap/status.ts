/** STATUS: whether the configuration can be carried out, as far as that is known without a container. */

import { answerStatus } from '../../lib/attachment/status.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { portForwardingStatus } from '../../lib/firewall/port-forwarding.ts'
import { parsePortmapConfig } from './config.ts'

export function status(request: NetworkRequest): void {
  answerStatus(() => {
    const { backend } = parsePortmapConfig(request)
    portForwardingStatus(backend, { environment: request.environment })
  })
}
