/** The host plugin's configuration: what the document says, checked, with defaults filled in. */

import { schema, validate } from '#validators/host'
import type { HostPort } from '../../lib/attachment/host-port.ts'
import { givenDns } from '../../lib/attachment/result.ts'
import { parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { Dns, NetworkRequest } from '../../lib/cni/types.ts'
import { type PortMappingDocument, parsePortMappings } from './port-mapping.ts'

/** The document, keys in the schema's spelling. */
interface HostDocument {
  interfaces?: string[]
  resolvConf: string
  ipam?: Readonly<Record<string, unknown>>
  dns?: Dns
  runtimeConfig?: { portMappings?: PortMappingDocument[] }
}

export interface HostConfig {
  /** Patterns that interfaces must match, and those that they must not; without any all do. */
  readonly interfaces: readonly string[]
  /** Replaces what `resolvConf` says. */
  readonly dns: Dns | undefined
  readonly resolvConf: { readonly path: string; readonly mustExist: boolean }
  readonly portMappings: readonly HostPort[]
}

/** Where every host has it, unless it does without. */
const RESOLV_CONF = '/etc/resolv.conf'

/** @throws CniError code 7 */
export function parseHostConfig(request: NetworkRequest): HostConfig {
  const document = parseConfig<HostDocument>(request.config, schema, validate)
  refuseAddressPlugin(document.ipam)
  return {
    interfaces: document.interfaces ?? [],
    dns: givenDns(document.dns),
    resolvConf: { path: document.resolvConf, mustExist: document.resolvConf !== RESOLV_CONF },
    portMappings: parsePortMappings(document.runtimeConfig?.portMappings ?? []),
  }
}

/** Templates of configurations leave an empty one behind. */
function refuseAddressPlugin(ipam: Readonly<Record<string, unknown>> = {}): void {
  const saying = Object.keys(ipam).filter(key => ipam[key] !== '' && ipam[key] !== null)
  if (saying.length === 0) return
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `"ipam" is ${JSON.stringify(ipam)}, but the host has its addresses already`,
    'remove "ipam", or use a plugin that makes an interface for the container, as bridge',
  )
}
