/** Filters on what a link receives: `tc filter ... ingress`. */

import type { Values } from '../../codec.ts'
import { type Answer, NLM_F, type Request, request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { RouteMessage } from '../message-types.ts'
import { RECEIVED } from '../qdisc/header.ts'
import { EGRESS_REDIRECT, STOLEN } from './action.ts'
import { filterFormat } from './message.ts'
import type { u32Attributes } from './u32.ts'

export interface Filter {
  /** "u32", "bpf", ... */
  readonly kind: string
  /** Filters are asked in ascending order. */
  readonly priority: number
  /** Indexes of the links that what it matches is redirected to. */
  readonly redirectsTo: readonly number[]
}

export interface FilterTarget {
  /** Of the link. */
  readonly index: number
  /** 1 to 65535. */
  readonly priority: number
}

/** ETH_P_ALL, linux/if_ether.h, in network order. */
const EVERY_PROTOCOL = 0x0300
/** TC_U32_TERMINAL */
const TERMINAL = 1

function headerOf({ index, priority }: FilterTarget) {
  return { index, parent: RECEIVED, info: priority * 0x1_0000 + EVERY_PROTOCOL }
}

/**
 * All that a link receives is sent by another. The link needs a clsact or ingress qdisc. No other filter may have the
 * priority. `tc filter add dev LINK ingress pref PRIORITY u32 match u32 0 0 action mirred egress redirect dev OTHER`
 * @param to index of the other link
 */
export function addRedirectRequest(target: FilterTarget, to: number): Request {
  const redirect = { action: STOLEN, direction: EGRESS_REDIRECT, link: to }
  return request(filterFormat, {
    type: RouteMessage.newFilter,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    operation: `redirect what link ${target.index} receives to link ${to}`,
    header: headerOf(target),
    attributes: {
      kind: 'u32',
      options: {
        sel: { flags: TERMINAL, keys: [{ mask: 0, value: 0, offset: 0, offsetMask: 0 }] },
        act: [{ kind: 'mirred', options: { parms: redirect } }],
      },
    },
  })
}

/** Deletes what {@link addRedirectRequest} has added; the kernel refuses (EINVAL) another kind of filter. */
export function deleteRedirectRequest(target: FilterTarget): Request {
  return request(filterFormat, {
    type: RouteMessage.deleteFilter,
    operation: `stop redirecting what link ${target.index} receives`,
    header: headerOf(target),
    attributes: { kind: 'u32' },
  })
}

type FilterAnswer = Answer<{ info?: number }, (typeof filterFormat)['attributes']>

function decodeFilter({ header, attributes }: FilterAnswer): Filter {
  const { kind = '', options } = attributes
  const { act = [] } = kind === 'u32' ? ((options ?? {}) as Values<typeof u32Attributes>) : {}
  const redirectsTo: number[] = []
  for (const action of act) {
    const parms = action.options !== undefined && 'parms' in action.options ? action.options.parms : undefined
    if (parms?.direction === EGRESS_REDIRECT) redirectsTo.push(parms.link ?? 0)
  }
  return { kind, priority: (header.info ?? 0) >>> 16, redirectsTo }
}

/**
 * What is asked of the packets that a link receives; none when it has neither a clsact nor an ingress qdisc. The kernel
 * tells a u32 filter in parts, of which the last has the actions.
 * @throws NetlinkError
 */
export function listReceiveFilters(socket: NetlinkSocket, index: number): Filter[] {
  return socket.mapDump(
    filterFormat,
    request(filterFormat, {
      type: RouteMessage.getFilter,
      operation: `list filters of link ${index}`,
      header: { index, parent: RECEIVED },
    }),
    decodeFilter,
  )
}
