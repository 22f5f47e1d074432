/** What a filter does with the packets that it matches. @see linux/pkt_cls.h, linux/tc_act/tc_mirred.h */

import { attributeTable, i32, string, struct, u32, variant } from '../../codec.ts'

/** TCA_EGRESS_REDIR: the packet is sent by another link, and is none of this one's any more. */
export const EGRESS_REDIRECT = 1
/** TC_ACT_STOLEN */
export const STOLEN = 4

const mirredAttributes = attributeTable('TCA_MIRRED', {
  /** struct tc_mirred */
  parms: [
    2,
    struct({
      index: u32,
      capabilities: u32,
      /** TC_ACT_*: what becomes of the packet here. */
      action: i32,
      references: i32,
      bindings: i32,
      /** TCA_EGRESS_REDIR, ... */
      direction: i32,
      /** Index of the link that the packet goes to. */
      link: u32,
    }),
  ],
})

export const actionAttributes = attributeTable('TCA_ACT', {
  kind: [1, string],
  options: [2, variant('kind', () => ({ mirred: mirredAttributes }))],
})
