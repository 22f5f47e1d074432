/** ADD: the addresses of the result are let through, and the ingress policy is put into force. */

import { familyOf } from '../../lib/address/address.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { warn } from '../../lib/attachment/warning.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import { addForwarding, chooseBackends, undoForwarding } from '../../lib/firewall/forwarding.ts'
import type { Link } from '../../lib/netlink/route/link/index.ts'
import { parseFirewallConfig } from './config.ts'
import { forwardingOf } from './forwarding.ts'
import { findHostLinks } from './host-links.ts'
import { isIsolated, isolatePort } from './port-isolation.ts'

export function add(request: AttachmentRequest): Result {
  const { backend: wanted, ingressPolicy, options } = parseFirewallConfig(request)
  const { prevResult } = request
  if (prevResult === undefined) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      'required prevResult is missing',
      'firewall makes no interface: put it behind a plugin that does, as bridge',
    )
  }
  const links =
    ingressPolicy === 'open' ? undefined : withHostSocket(host => findHostLinks(host, prevResult, ingressPolicy))
  const forwarding = forwardingOf(prevResult, ingressPolicy, links)
  const families = [...new Set(forwarding.addresses.map(familyOf))]
  const { backends, warnings } = chooseBackends(wanted, families, options)
  for (const warning of warnings) warn(request, warning)
  runTransaction(request.environment, transaction => {
    if (ingressPolicy === 'isolated') isolatePorts(transaction, links?.ports ?? [])
    for (const backend of backends) {
      transaction.step(
        `let ${forwarding.addresses.length} addresses through with ${backend}`,
        () => addForwarding(backend, request, forwarding, options),
        // Of an attachment that was complete before, a failing repetition takes nothing away.
        added => {
          if (added) undoForwarding(backend, request, forwarding.addresses, options)
        },
      )
    }
  })
  return prevResult
}

function isolatePorts(transaction: Transaction, ports: readonly Link[]): void {
  for (const port of ports.filter(port => !isIsolated(port))) {
    transaction.step(
      `isolate port "${port.name}"`,
      () => isolatePort(port, true),
      () => isolatePort(port, false),
    )
  }
}
