/** The agent's settings under "mesh"; overlayd/schema.json says what there is. */

import { isPrefix, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { DEFAULT_GATEWAY_BRIDGE } from '../../lib/overlay/gateway-bridge.ts'

export interface MeshSettings {
  /** The network over which published ports reach their replicas. */
  readonly network: string
  /** Its subnets. */
  readonly subnets: readonly Prefix[]
  readonly gatewayBridge: string
  /** The directory of the CNI plugins, of which the load balancer is made. */
  readonly pluginDirectory: string
  /** For how long the load balancer stays when nothing is published any more. */
  readonly idleSeconds: number
}

interface MeshDocument {
  readonly network?: string
  readonly subnet?: string
  readonly ipv6Subnet?: string
  readonly gatewayBridge?: string
  readonly pluginDirectory?: string
  readonly idleSeconds?: number
}

/** Reads them with their defaults; an empty subnet stands for none of that family. @throws CniError code 7 */
export function readMeshSettings(document: MeshDocument): MeshSettings {
  const { subnet = '10.255.0.0/16', ipv6Subnet = 'fd63:6e69:6b69:ff::/64' } = document
  const subnets = [subnet, ipv6Subnet]
    .filter(text => text !== '')
    .map(parsePrefix)
    .filter(isPrefix)
  if (subnets.length === 0 || subnets.length < [subnet, ipv6Subnet].filter(text => text !== '').length)
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `"mesh.subnet" is "${subnet}" and "mesh.ipv6Subnet" "${ipv6Subnet}"`,
      'write subnets, "10.255.0.0/16" and "fd00:255::/64" for example, or "" for a family that is not to be had',
    )
  return {
    network: document.network ?? 'ingress',
    subnets,
    gatewayBridge: document.gatewayBridge ?? DEFAULT_GATEWAY_BRIDGE,
    pluginDirectory: document.pluginDirectory ?? '/opt/cni/bin',
    idleSeconds: document.idleSeconds ?? 60,
  }
}
