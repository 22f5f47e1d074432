/** STATUS: whether ADD can be served. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { answerStatus } from '../../lib/attachment/status.ts'
import { delegateStatus } from '../../lib/cni/delegate.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { addLinkRequest } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { Errno } from '../../lib/sys/errno.ts'
import { parseMacvlanConfig } from './config.ts'
import { missingKernelSupport } from './macvlan-link.ts'
import { checkMaster } from './master.ts'
import { findMasterOrBase, PROBE } from './vlan-master.ts'

export function status(request: NetworkRequest): void {
  const config = parseMacvlanConfig(request)
  answerStatus(() => {
    withHostSocket(host => {
      checkKernel(host)
      // That of a container is not known yet.
      if (config.linkInContainer) return
      const master = findMasterOrBase(host, config)
      checkMaster(host, master, config)
      if (!master.up) {
        throw new CniError(
          ErrorCode.unavailable,
          `master "${master.name}" is down: nothing would reach the containers`,
          `"ip link set ${master.name} up" brings it up`,
        )
      }
    })
    if (config.ipamType !== undefined) delegateStatus(request, config.ipamType)
  })
}

/** Asks for a macvlan without a master, which makes none: a kernel that knows the kind says that something is wrong. */
function checkKernel(host: NetlinkSocket): void {
  const [refusal] = host.tryAll([addLinkRequest({ name: PROBE, kind: 'macvlan' })])
  if (refusal?.errno === Errno.EOPNOTSUPP) throw missingKernelSupport(refusal)
}
