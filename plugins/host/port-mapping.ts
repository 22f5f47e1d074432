/** The capability "portMappings" on a host whose ports nobody translates. */

import {
  type HostPort,
  type HostPortDocument,
  mappingName,
  parseHostPort,
  refuseClashes,
} from '../../lib/attachment/host-port.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'

/** An entry of runtimeConfig.portMappings, keys in the schema's spelling. */
export interface PortMappingDocument extends HostPortDocument {
  containerPort?: number
}

/** @throws CniError code 7 */
export function parsePortMappings(documents: readonly PortMappingDocument[]): HostPort[] {
  const ports = documents.map(parsePortMapping)
  refuseClashes(ports)
  return ports
}

function parsePortMapping(document: PortMappingDocument, index: number): HostPort {
  const { hostPort: port, containerPort } = document
  if (containerPort && containerPort !== port) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `${mappingName(index)}: hostPort ${port} and containerPort ${containerPort} differ, but in the host's network nothing translates ports`,
      `have the container listen on ${port} and map it to itself, or use a plugin with port mapping, as bridge with portmap`,
    )
  }
  return parseHostPort(document, index)
}
