/** STATUS: whether ADD can be served. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { answerStatus } from '../../lib/attachment/status.ts'
import { delegateStatus } from '../../lib/cni/delegate.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { masqueradeStatus } from '../../lib/firewall/masquerade.ts'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import { findGatewayBridge } from '../../lib/overlay/gateway-bridge.ts'
import { parseOverlayConfig } from './config.ts'
import { settingsWithoutAgent } from './settings.ts'

export function status(request: NetworkRequest): void {
  const { controlPlane, mtu, internal, gatewayBridge, ipamType } = parseOverlayConfig(request)
  const { network } = request
  answerStatus(() => {
    if (controlPlane.type === 'etcd') callAgent(controlPlane.socket, 'status', { network })
    withHostSocket(host => {
      if (controlPlane.type !== 'etcd') settingsWithoutAgent(network, controlPlane, mtu).resolve(host)
      if (!internal) findGatewayBridge(host, gatewayBridge.name)
    })
    masqueradeStatus('nftables')
    delegateStatus(request, ipamType)
  })
}
