/** MACVLAN devices: `ip link add link <master> type macvlan`. @see linux/if_link.h, IFLA_MACVLAN_* */

import { attributeTable, i32, u16, u32, type Values } from '../../../codec.ts'
import { named } from '../../value-codecs.ts'

const modes = { private: 1, vepa: 2, bridge: 4, passthru: 8, source: 16 } as const

export const macvlanAttributes = attributeTable('IFLA_MACVLAN', {
  mode: [1, named(u32, modes)],
  /** MACVLAN_FLAG_NOPROMISC 1, MACVLAN_FLAG_NODST 2 */
  flags: [2, u16],
  macaddrCount: [6, u32],
  /** Broadcasts that may wait; what is in force is the largest of all links of the master. */
  bcQueueLen: [7, u32],
  bcQueueLenUsed: [8, u32],
  bcCutoff: [9, i32],
})

export type MacvlanSettings = Values<typeof macvlanAttributes>
