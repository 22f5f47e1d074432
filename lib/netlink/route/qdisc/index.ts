/** Queueing disciplines, as in `tc qdisc`: what becomes of packets before a link sends them. */

export { QdiscParent, qdiscHandle } from './header.ts'
export { TICKS_PER_SECOND, type TokenBucket } from './kinds/tbf.ts'
export type { Qdisc } from './qdisc.ts'
export { addQdiscRequest, deleteQdiscRequest, type NewQdisc, type QdiscTarget } from './requests.ts'
export { getQdisc, listQdiscs } from './verbs.ts'
