/** A qdisc as the kernel reports it. */

import type { Values } from '../../codec.ts'
import type { Answer } from '../../message.ts'
import { type TokenBucket, type tbfAttributes, tbfFromAttributes } from './kinds/tbf.ts'
import type { qdiscFormat } from './message.ts'

export interface Qdisc {
  /** Of its link. */
  readonly index: number
  /** "tbf", "clsact", ... */
  readonly kind: string
  /** See qdiscHandle(). */
  readonly handle: number
  /** See QdiscParent; of a child, the class of another qdisc. */
  readonly parent: number
  /** Of kind "tbf". */
  readonly tbf?: TokenBucket
}

type QdiscAnswer = Answer<{ index?: number; handle?: number; parent?: number }, (typeof qdiscFormat)['attributes']>

export function decodeQdisc({ header, attributes }: QdiscAnswer): Qdisc {
  const { kind = '', options } = attributes
  return {
    index: header.index ?? 0,
    kind,
    handle: header.handle ?? 0,
    parent: header.parent ?? 0,
    // The decoder chose the table by the same kind.
    ...(kind === 'tbf' && options !== undefined
      ? { tbf: tbfFromAttributes(options as Values<typeof tbfAttributes>) }
      : {}),
  }
}
