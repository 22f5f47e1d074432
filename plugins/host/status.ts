/** STATUS: whether the host has a network to give. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { answerStatus } from '../../lib/attachment/status.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { listLinks } from '../../lib/netlink/route/link/index.ts'
import { parseHostConfig } from './config.ts'
import { requireHostNetwork } from './host-network.ts'

export function status(request: NetworkRequest): void {
  const config = parseHostConfig(request)
  answerStatus(() =>
    withHostSocket(host => {
      if (!listLinks(host).some(link => link.up && !link.loopback)) {
        throw new CniError(
          ErrorCode.unavailableAndLimited,
          'no interface of the host but loopback is up: its containers are cut off as well',
          'bring the network of the host up: "ip link" shows its state',
        )
      }
      requireHostNetwork(host, config.interfaces, ErrorCode.unavailable)
    }),
  )
}
