/** CHECK: what ADD made is still there. Nothing is created. */

import { familyOf } from '../../lib/address/address.ts'
import { failCheck, requirePrevResult } from '../../lib/attachment/check.ts'
import { withHostSocket } from '../../lib/attachment/sockets.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { checkForwarding, chooseBackends } from '../../lib/firewall/forwarding.ts'
import { parseFirewallConfig } from './config.ts'
import { forwardingOf } from './forwarding.ts'
import { findHostLinks } from './host-links.ts'
import { isIsolated } from './port-isolation.ts'

export function check(request: AttachmentRequest): void {
  const { backend: wanted, ingressPolicy, options } = parseFirewallConfig(request)
  const result = requirePrevResult(request)
  const links =
    ingressPolicy === 'open' ? undefined : withHostSocket(host => findHostLinks(host, result, ingressPolicy))
  const forwarding = forwardingOf(result, ingressPolicy, links)
  const { backends } = chooseBackends(wanted, [...new Set(forwarding.addresses.map(familyOf))], options)
  for (const backend of backends) checkForwarding(backend, request, forwarding, options)
  if (ingressPolicy !== 'isolated') return
  for (const port of links?.ports ?? []) {
    if (!isIsolated(port)) failCheck(`port "${port.name}" is not isolated from other ports of its bridge`)
  }
}
