/** `tc qdisc`: what is asked of the kernel. Requests can be collected and sent together. */

import { NLM_F, type Request, request } from '../../message.ts'
import { RouteMessage } from '../message-types.ts'
import { QdiscParent } from './header.ts'
import { type TokenBucket, tbfToAttributes } from './kinds/tbf.ts'
import { qdiscFormat } from './message.ts'

export interface QdiscTarget {
  /** Of the link. */
  readonly index: number
  /** "tbf", "clsact", ... */
  readonly kind: string
  readonly parent: keyof typeof QdiscParent
  /** See qdiscHandle(). A clsact qdisc needs none: it is always "ffff:". */
  readonly handle?: number | undefined
}

export interface NewQdisc extends QdiscTarget {
  readonly tbf?: TokenBucket | undefined
}

function describe(verb: string, { kind, index }: QdiscTarget): string {
  return `${verb} qdisc "${kind}" of link ${index}`
}

/** `tc qdisc add`. The place must be free but for what the kernel itself puts there. */
export function addQdiscRequest(qdisc: NewQdisc): Request {
  const { index, kind, parent, handle = 0, tbf } = qdisc
  return request(qdiscFormat, {
    type: RouteMessage.newQdisc,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    operation: describe('create', qdisc),
    header: { index, handle, parent: QdiscParent[parent] },
    attributes: { kind, options: tbf && tbfToAttributes(tbf) },
  })
}

/** `tc qdisc delete`. The kernel refuses (EINVAL) when the qdisc there is of another kind or has another handle. */
export function deleteQdiscRequest(qdisc: QdiscTarget): Request {
  const { index, kind, parent, handle = 0 } = qdisc
  return request(qdiscFormat, {
    type: RouteMessage.deleteQdisc,
    operation: describe('delete', qdisc),
    header: { index, handle, parent: QdiscParent[parent] },
    attributes: { kind },
  })
}
