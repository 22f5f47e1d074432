/** The firewall plugin's configuration: what the document says, checked, with defaults filled in. */

import { schema, validate } from '#validators/firewall'
import { parseConfig } from '../../lib/cni/config.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import type { ForwardingBackend, ForwardingOptions, IngressPolicy } from '../../lib/firewall/forwarding-intent.ts'

/** The document, keys in the schema's spelling. "" stands for a default, as with the Go plugin. */
interface FirewallDocument {
  backend?: ForwardingBackend | ''
  ingressPolicy?: IngressPolicy | ''
  iptablesAdminChainName?: string
  firewalldZone?: string
}

export interface FirewallConfig {
  /** Undefined leaves the choice to us. */
  readonly backend: ForwardingBackend | undefined
  readonly ingressPolicy: IngressPolicy
  readonly options: ForwardingOptions
}

/** @throws CniError code 7 */
export function parseFirewallConfig({ config, environment }: NetworkRequest): FirewallConfig {
  const document = parseConfig<FirewallDocument>(config, schema, validate)
  return {
    backend: document.backend || undefined,
    ingressPolicy: document.ingressPolicy || 'open',
    options: {
      environment,
      adminChain: document.iptablesAdminChainName || 'CNI-ADMIN',
      zone: document.firewalldZone || 'trusted',
    },
  }
}
