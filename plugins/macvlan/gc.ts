/** GC: what this network's lost attachments have left behind. Their links have gone with their namespaces. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { runAll } from '../../lib/cni/best-effort.ts'
import { delegateGc } from '../../lib/cni/delegate.ts'
import type { GcRequest } from '../../lib/cni/types.ts'
import { parseMacvlanConfig } from './config.ts'
import { HostAccess } from './host-access.ts'
import { removeUnusedVlan } from './vlan-master.ts'

export function gc(request: GcRequest): void {
  const config = parseMacvlanConfig(request)
  const { network, validAttachments } = request
  runAll([
    () => {
      if (validAttachments !== undefined)
        withHostSocket(host => new HostAccess(host, network).keepOnly(validAttachments))
    },
    () => {
      if (validAttachments !== undefined && !config.linkInContainer) {
        withHostSocket(host => removeUnusedVlan(host, config.master))
      }
    },
    // Last, as in DEL: addresses are free when their links are gone.
    () => {
      if (config.ipamType !== undefined) delegateGc(request, config.ipamType)
    },
  ])
}
