/** Messages about links of any family. @see linux/if_link.h */

import { attributeTable, list, nested, string, u8, u32, variant } from '../../codec.ts'
import { mac, named } from '../value-codecs.ts'
import { commonLinkAttributes } from './common-attributes.ts'
import { protocolAttributes } from './device-configuration.ts'
import { linkHeader } from './header.ts'
import { bridgePortAttributes } from './kinds/bridge-port.ts'
import { kindAttributes } from './kinds/index.ts'
import { linkStatistics } from './statistics.ts'

const linkInfo = attributeTable('IFLA_INFO', {
  kind: [1, string],
  data: [2, variant('kind', () => kindAttributes)],
  slaveKind: [4, string],
  slaveData: [5, variant('slaveKind', () => ({ bridge: bridgePortAttributes }))],
})

/** IF_OPER_*, linux/if.h: RFC 2863's ifOperStatus. */
export const operStates = {
  unknown: 0,
  notPresent: 1,
  down: 2,
  lowerLayerDown: 3,
  testing: 4,
  dormant: 5,
  up: 6,
} as const

export const IFLA_ALT_IFNAME = 53

export const linkFormat = {
  header: linkHeader,
  attributes: attributeTable('IFLA', {
    ...commonLinkAttributes,
    qdisc: [6, string],
    operstate: [16, named(u8, operStates)],
    linkinfo: [18, nested(linkInfo)],
    stats64: [23, linkStatistics],
    afSpec: [26, nested(protocolAttributes)],
    extMask: [29, u32],
    promiscuity: [30, u32],
    carrier: [33, u8],
    carrierChanges: [35, u32],
    minMtu: [50, u32],
    maxMtu: [51, u32],
    propList: [52, list(IFLA_ALT_IFNAME, string)],
    altIfname: [IFLA_ALT_IFNAME, string],
    permAddress: [54, mac],
    allmulti: [61, u32],
  }),
}

/**
 * Bits of IFLA_EXT_MASK: what an answer is to have, or to leave out (of the statistics, IPv6's alone).
 * @see linux/rtnetlink.h, RTEXT_FILTER_*
 */
export const ExtendedMask = { bridgeVlans: 2, bridgeVlansCompressed: 4, skipStatistics: 8 } as const
