/** VRF devices: `ip link add type vrf table <number>`. @see linux/if_link.h, IFLA_VRF_* */

import { attributeTable, u32, type Values } from '../../../codec.ts'

export const vrfAttributes = attributeTable('IFLA_VRF', { table: [1, u32] })

export type VrfSettings = Values<typeof vrfAttributes>
