/** IPVLAN devices: `ip link add link <master> type ipvlan`. @see linux/if_link.h, IFLA_IPVLAN_* */

import { attributeTable, u16, type Values } from '../../../codec.ts'
import { named } from '../../value-codecs.ts'

const modes = { l2: 0, l3: 1, l3s: 2 } as const

export const ipvlanAttributes = attributeTable('IFLA_IPVLAN', {
  mode: [1, named(u16, modes)],
  /** IPVLAN_F_PRIVATE 1, IPVLAN_F_VEPA 2 */
  flags: [2, u16],
})

export type IpvlanSettings = Values<typeof ipvlanAttributes>
