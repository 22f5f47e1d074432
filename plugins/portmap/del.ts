/** DEL: all that the attachment has, by its names; what the runtime knows of the ports only makes it faster. */

import { isPrefix, parsePrefix } from '../../lib/address/prefix.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import { deletePortForwarding, type KnownForwarding } from '../../lib/firewall/port-forwarding.ts'
import { parsePortmapConfig } from './config.ts'

export function del(request: AttachmentRequest): void {
  const { environment } = request
  deletePortForwarding(request, known(request), { environment })
}

function known(request: AttachmentRequest): KnownForwarding {
  const ips = request.prevResult?.ips
  return {
    ...knownMappings(request),
    ...(ips === undefined ? {} : { addresses: ips.map(({ address }) => parsePrefix(address)).filter(isPrefix) }),
  }
}

/** A configuration that ADD would refuse is no reason to leave anything behind. */
function knownMappings(request: AttachmentRequest): Pick<KnownForwarding, 'mappings'> {
  try {
    const { mappings } = parsePortmapConfig(request)
    return mappings.length === 0 ? {} : { mappings }
  } catch {
    return {}
  }
}
