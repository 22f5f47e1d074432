/**
 * TUN and TAP devices, as the kernel reports them. They are made by opening /dev/net/tun and the ioctl TUNSETIFF:
 * netlink refuses to. @see linux/if_link.h, IFLA_TUN_*
 */

import { attributeTable, u8, u32, type Values } from '../../../codec.ts'
import { boolean8, named } from '../../value-codecs.ts'

export const tunAttributes = attributeTable('IFLA_TUN', {
  owner: [1, u32],
  group: [2, u32],
  type: [3, named(u8, { tun: 1, tap: 2 })],
  pi: [4, boolean8],
  vnetHdr: [5, boolean8],
  persist: [6, boolean8],
  multiQueue: [7, boolean8],
  numQueues: [8, u32],
  numDisabledQueues: [9, u32],
})

export type TunSettings = Values<typeof tunAttributes>
