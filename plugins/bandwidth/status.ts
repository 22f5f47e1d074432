/** STATUS: whether the kernel has what limits are made of. */

import { withHostSocket } from '../../lib/attachment/sockets.ts'
import { answerStatus } from '../../lib/attachment/status.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { NetworkRequest } from '../../lib/cni/types.ts'
import { getLink } from '../../lib/netlink/route/link/index.ts'
import { runInNewNamespace } from '../../lib/netns/index.ts'
import { parseBandwidthConfig } from './config.ts'
import { addBucket, addIfb, addRedirect } from './shaping.ts'
import { tokenBucketOf } from './token-bucket.ts'

/** Any limit. */
const EXAMPLE = { burstKey: 'ingressBurst', rate: 1_000_000, burst: 100_000 }

/** Sets limits as ADD does, in a network namespace of its own that nobody else sees and that goes with all that is in it. */
export function status(request: NetworkRequest): void {
  const { latencyMs } = parseBandwidthConfig(request)
  answerStatus(() =>
    runInNewNamespace(() =>
      withHostSocket(host => {
        const loopback = getLink(host, { name: 'lo' })
        if (loopback === undefined) throw new CniError(ErrorCode.internal, 'a new network namespace has no loopback')
        const ifb = addIfb(host, { name: 'bwp', alias: 'cnikit: probe' }, loopback)
        addBucket(host, ifb, tokenBucketOf(EXAMPLE, latencyMs))
        addRedirect(host, loopback, ifb)
      }),
    ),
  )
}
