/** ADD: the ports lead to the container. The result is that of the plugins before. */

import { warn } from '../../lib/attachment/warning.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { runTransaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import {
  addPortForwarding,
  deletePortForwarding,
  enableLocalhost,
  forgetOtherConnections,
} from '../../lib/firewall/port-forwarding.ts'
import { parsePortmapConfig } from './config.ts'
import { forwardingOf } from './forwarding.ts'

export function add(request: AttachmentRequest): Result {
  const config = parsePortmapConfig(request)
  const { prevResult, environment } = request
  if (prevResult === undefined) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      'Required prevResult missing',
      'portmap publishes ports of what a plugin before it in the chain has attached: put it behind that one',
    )
  }
  if (config.mappings.length === 0) return prevResult
  const forwarding = forwardingOf(request, config, prevResult)
  return runTransaction(environment, transaction => {
    transaction.step(
      `forward ports with ${config.backend}`,
      () => addPortForwarding(config.backend, request, forwarding, { environment }),
      added => {
        if (added) deletePortForwarding(request, forwarding, { environment })
      },
    )
    // Not undone: other containers may have come to need it, and what it opens is shut by the forwarding's own rules.
    transaction.step('enable localhost', () => enableLocalhost(forwarding))
    transaction.step('forget UDP connections', () => {
      try {
        forgetOtherConnections(forwarding)
      } catch (error) {
        // They end by themselves when their clients pause.
        warn(request, `cannot forget UDP connections: ${error instanceof Error ? error.message : String(error)}`)
      }
    })
    return prevResult
  })
}
