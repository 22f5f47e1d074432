/** STATUS: whether ADD can be served. */

import { findBridge } from '../../lib/attachment/shared-bridge.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { answerStatus } from '../../lib/attachment/status.ts'
import { delegateStatus } from '../../lib/cni/delegate.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { masqueradeStatus } from '../../lib/firewall/masquerade.ts'
import { spoofCheckStatus } from '../../lib/firewall/spoof-check.ts'
import { parseBridgeConfig } from './config.ts'
import { findVlanGateway, hasVlanGateway } from './vlan-gateway.ts'

export function status(request: NetworkRequest): void {
  const config = parseBridgeConfig(request)
  answerStatus(() => {
    withHostSocket(host => {
      const bridge = findBridge(host, config.bridge)
      if (bridge !== undefined && hasVlanGateway(config)) findVlanGateway(host, config, bridge)
    })
    if (config.masquerade !== undefined) masqueradeStatus(config.masquerade, { environment: request.environment })
    if (config.macSpoofCheck) spoofCheckStatus()
    if (config.ipamType !== undefined) delegateStatus(request, config.ipamType)
  })
}
