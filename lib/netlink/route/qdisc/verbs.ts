/** `tc qdisc`: requests sent and answered at once. */

import { NLM_F, request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { RouteMessage } from '../message-types.ts'
import { QdiscParent } from './header.ts'
import { qdiscFormat } from './message.ts'
import { decodeQdisc, type Qdisc } from './qdisc.ts'

/**
 * The qdisc that stands there; undefined for none but what the kernel itself puts there (noqueue, pfifo_fast, ...).
 * @throws NetlinkError, ENODEV when there is no such link
 */
export function getQdisc(
  socket: NetlinkSocket,
  target: { readonly index: number; readonly parent: keyof typeof QdiscParent },
): Qdisc | undefined {
  const answer = socket.get(
    qdiscFormat,
    request(qdiscFormat, {
      type: RouteMessage.getQdisc,
      // Older kernels notify a multicast group unless an echo is asked for; and of a built-in qdisc there is no answer but
      // the acknowledgement.
      flags: NLM_F.ECHO | NLM_F.ACK,
      operation: `read the ${target.parent} qdisc of link ${target.index}`,
      header: { index: target.index, parent: QdiscParent[target.parent] },
    }),
  )
  const qdisc = answer && decodeQdisc(answer)
  // Default qdiscs have no handle.
  return qdisc?.handle === 0 ? undefined : qdisc
}

/** Of all links. The kernel has no filter for this dump. @throws NetlinkError */
export function listQdiscs(socket: NetlinkSocket): Qdisc[] {
  return socket
    .dump(qdiscFormat, request(qdiscFormat, { type: RouteMessage.getQdisc, operation: 'list qdiscs' }))
    .map(decodeQdisc)
}
