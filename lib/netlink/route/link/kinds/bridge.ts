/** Bridges: `ip link add type bridge`. Times are in hundredths of a second. @see linux/if_link.h, IFLA_BR_* */

import { attributeTable, bytes, flag, struct, u8, u16, u16be, u32, u64, type Values } from '../../../codec.ts'
import { boolean8, mac } from '../../value-codecs.ts'

export const bridgeAttributes = attributeTable('IFLA_BR', {
  forwardDelay: [1, u32],
  helloTime: [2, u32],
  maxAge: [3, u32],
  ageingTime: [4, u32],
  stpState: [5, u32],
  priority: [6, u16],
  vlanFiltering: [7, boolean8],
  vlanProtocol: [8, u16be],
  groupFwdMask: [9, u16],
  rootId: [10, bytes],
  bridgeId: [11, bytes],
  rootPort: [12, u16],
  rootPathCost: [13, u32],
  topologyChange: [14, boolean8],
  topologyChangeDetected: [15, boolean8],
  helloTimer: [16, u64],
  tcnTimer: [17, u64],
  topologyChangeTimer: [18, u64],
  gcTimer: [19, u64],
  groupAddr: [20, mac],
  fdbFlush: [21, flag],
  mcastRouter: [22, u8],
  mcastSnooping: [23, boolean8],
  mcastQueryUseIfaddr: [24, boolean8],
  mcastQuerier: [25, boolean8],
  mcastHashElasticity: [26, u32],
  mcastHashMax: [27, u32],
  mcastLastMemberCnt: [28, u32],
  mcastStartupQueryCnt: [29, u32],
  mcastLastMemberIntvl: [30, u64],
  mcastMembershipIntvl: [31, u64],
  mcastQuerierIntvl: [32, u64],
  mcastQueryIntvl: [33, u64],
  mcastQueryResponseIntvl: [34, u64],
  mcastStartupQueryIntvl: [35, u64],
  nfCallIptables: [36, boolean8],
  nfCallIp6tables: [37, boolean8],
  nfCallArptables: [38, boolean8],
  /** 0 means that ports get no VLAN by default. */
  vlanDefaultPvid: [39, u16],
  vlanStatsEnabled: [41, boolean8],
  mcastStatsEnabled: [42, boolean8],
  mcastIgmpVersion: [43, u8],
  mcastMldVersion: [44, u8],
  vlanStatsPerPort: [45, boolean8],
  /** Bits of BR_BOOLOPT_*, linux/if_bridge.h. */
  multiBoolopt: [46, struct({ value: u32, mask: u32 })],
})

/** What a bridge is set to, and with it what it reports. */
export type BridgeSettings = Values<typeof bridgeAttributes>
