/** Pairs of virtual Ethernet links: `ip link add <name> type veth peer name <name>`. @see linux/veth.h */

import { attributeTable, structThenAttributes } from '../../../codec.ts'
import { commonLinkAttributes } from '../common-attributes.ts'
import { linkHeader } from '../header.ts'

/** A link message within the link message: the kernel makes the other end from it. */
export const vethAttributes = attributeTable('VETH_INFO', {
  peer: [1, structThenAttributes(linkHeader, attributeTable('IFLA', commonLinkAttributes))],
})
