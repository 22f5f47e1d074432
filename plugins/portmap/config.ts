/** The configuration: which ports, and by which back end. */

import { schema, validate } from '#validators/portmap'
import { equalAddresses } from '../../lib/address/address.ts'
import { type HostPortDocument, mappingName, parseHostPort, refuseClashes } from '../../lib/attachment/host-port.ts'
import { parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import type { PortForwarding, PortForwardingBackend, PortMapping } from '../../lib/firewall/port-forwarding.ts'

interface PortMappingDocument extends HostPortDocument {
  containerPort: number
}

/** The document, keys in the schema's spelling. */
interface PortmapDocument {
  backend?: '' | PortForwardingBackend
  snat: boolean
  masqAll: boolean
  preserveClientIP: boolean
  markMasqBit?: number
  externalSetMarkChain?: string
  conditionsV4?: string[]
  conditionsV6?: string[]
  runtimeConfig?: { portMappings?: PortMappingDocument[] }
}

/** What is forwarded where only the attachment can say. */
export interface PortmapConfig extends Omit<PortForwarding, 'addresses' | 'namespace' | 'preserveClientAddress'> {
  readonly backend: PortForwardingBackend
  readonly preserveClientAddress: boolean
}

/** Kubernetes uses 14 and 15, Calico 20 to 31; as the Go plugin. */
const DEFAULT_MARK_BIT = 13

/** @throws CniError code 7 */
export function parsePortmapConfig({ config }: NetworkRequest): PortmapConfig {
  const document = parseConfig<PortmapDocument>(config, schema, validate)
  const { externalSetMarkChain, markMasqBit } = document
  if (markMasqBit !== undefined && externalSetMarkChain !== undefined) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `markMasqBit (${markMasqBit}) and externalSetMarkChain ("${externalSetMarkChain}") exclude each other`,
      'keep the one that says who marks packets: portmap itself, or that chain',
    )
  }
  return {
    backend: backendOf(document),
    mappings: parsePortMappings(document.runtimeConfig?.portMappings ?? []),
    snat: document.snat,
    masqueradeAll: document.masqAll,
    preserveClientAddress: document.preserveClientIP,
    markBit: markMasqBit ?? DEFAULT_MARK_BIT,
    externalMarkChain: externalSetMarkChain,
    conditions: { ip: document.conditionsV4 ?? [], ip6: document.conditionsV6 ?? [] },
  }
}

/** @throws CniError code 7 for what nftables cannot do */
function backendOf(document: PortmapDocument): PortForwardingBackend {
  const only = (['externalSetMarkChain', 'conditionsV4', 'conditionsV6'] as const).find(
    key => (document[key]?.length ?? 0) > 0,
  )
  if (!document.backend) return only === undefined ? 'nftables' : 'iptables'
  if (document.backend === 'iptables' || only === undefined) return document.backend
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `${only} is ${JSON.stringify(document[only])}, which the back end nftables does not know`,
    `remove "${only}", or set "backend": "iptables"`,
  )
}

function parsePortMappings(documents: readonly PortMappingDocument[]): PortMapping[] {
  const ports = documents.map(parseHostPort)
  refuseClashes(ports)
  return ports.map(({ transport, port, address }, index) => {
    if (address !== undefined && equalAddresses(address, ipv6Loopback)) {
      throw new CniError(
        ErrorCode.invalidNetworkConfig,
        `${mappingName(index)}.hostIP is "::1", from which Linux forwards nothing`,
        'use 127.0.0.1, or another address of the host',
      )
    }
    const containerPort = documents[index]?.containerPort ?? port
    return { transport, hostPort: port, containerPort, hostAddress: address }
  })
}

const ipv6Loopback = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
