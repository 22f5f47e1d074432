/** STATUS: whether ADD can be served. */

import { delegateStatus } from '../../lib/cni/delegate.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { toCniError } from '../../lib/cni/failure.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { masqueradeStatus } from '../../lib/firewall/masquerade.ts'
import { findBridge } from './bridge-link.ts'
import { parseBridgeConfig } from './config.ts'
import { withHostSocket } from './sockets.ts'

export function status(request: NetworkRequest): void {
  const config = parseBridgeConfig(request)
  try {
    withHostSocket(host => findBridge(host, config.bridge))
    if (config.masquerade !== undefined) masqueradeStatus(config.masquerade, { environment: request.environment })
  } catch (error) {
    const { message, details } = toCniError(error)
    throw new CniError(ErrorCode.unavailable, message, details, { cause: error })
  }
  if (config.ipamType !== undefined) delegateStatus(request, config.ipamType)
}
