/** 802.1Q devices: `ip link add link <master> type vlan id <id>`. @see linux/if_link.h, IFLA_VLAN_* */

import { attributeTable, struct, u16, u16be, u32, type Values } from '../../../codec.ts'

export const vlanAttributes = attributeTable('IFLA_VLAN', {
  /** 0 to 4094 */
  id: [1, u16],
  /** Bits of VLAN_FLAG_*, linux/if_vlan.h. */
  flags: [2, struct({ flags: u32, mask: u32 })],
  /** Ethernet type of the tag: 0x8100, or 0x88a8 for 802.1ad. */
  protocol: [5, u16be],
})

export type VlanSettings = Values<typeof vlanAttributes>
