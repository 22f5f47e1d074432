/** STATUS: whether ADD can be served. */

import { delegateStatus } from '../../lib/cni/delegate.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { toCniError } from '../../lib/cni/failure.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { masqueradeStatus } from '../../lib/firewall/masquerade.ts'
import { spoofCheckStatus } from '../../lib/firewall/spoof-check.ts'
import { findBridge } from './bridge-link.ts'
import { parseBridgeConfig } from './config.ts'
import { withHostSocket } from './sockets.ts'
import { findVlanGateway, hasVlanGateway } from './vlan-gateway.ts'

export function status(request: NetworkRequest): void {
  const config = parseBridgeConfig(request)
  try {
    withHostSocket(host => {
      const bridge = findBridge(host, config.bridge)
      if (bridge !== undefined && hasVlanGateway(config)) findVlanGateway(host, config, bridge)
    })
    if (config.masquerade !== undefined) masqueradeStatus(config.masquerade, { environment: request.environment })
    if (config.macSpoofCheck) spoofCheckStatus()
    if (config.ipamType !== undefined) delegateStatus(request, config.ipamType)
  } catch (error) {
    const { code, message, details } = toCniError(error)
    throw new CniError(asItIs.has(code) ? code : ErrorCode.unavailable, message, details, { cause: error })
  }
}

/** A configuration that is wrong, and what an address plugin itself says about its state. */
const asItIs: ReadonlySet<number> = new Set([
  ErrorCode.incompatibleVersion,
  ErrorCode.invalidNetworkConfig,
  ErrorCode.unavailable,
  ErrorCode.unavailableAndLimited,
])
