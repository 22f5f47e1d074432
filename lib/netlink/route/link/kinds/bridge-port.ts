/** A link as the port of a bridge: `bridge link set`, `ip link set ... type bridge_slave`. @see IFLA_BRPORT_* */

import { attributeTable, bytes, flag, u8, u16, u32, u64, type Values } from '../../../codec.ts'
import { boolean8, named } from '../../value-codecs.ts'

/** BR_STATE_*, linux/if_bridge.h. */
const portStates = { disabled: 0, listening: 1, learning: 2, forwarding: 3, blocking: 4 } as const

export const bridgePortAttributes = attributeTable('IFLA_BRPORT', {
  /** As the spanning tree has it; see `operState` of the link for whether traffic passes. */
  state: [1, named(u8, portStates)],
  priority: [2, u16],
  cost: [3, u32],
  /** IFLA_BRPORT_MODE: frames may leave by the port through which they came. */
  hairpin: [4, boolean8],
  guard: [5, boolean8],
  protect: [6, boolean8],
  fastLeave: [7, boolean8],
  learning: [8, boolean8],
  unicastFlood: [9, boolean8],
  proxyarp: [10, boolean8],
  learningSync: [11, boolean8],
  proxyarpWifi: [12, boolean8],
  rootId: [13, bytes],
  bridgeId: [14, bytes],
  designatedPort: [15, u16],
  designatedCost: [16, u16],
  id: [17, u16],
  no: [18, u16],
  topologyChangeAck: [19, boolean8],
  configPending: [20, boolean8],
  messageAgeTimer: [21, u64],
  forwardDelayTimer: [22, u64],
  holdTimer: [23, u64],
  flush: [24, flag],
  multicastRouter: [25, u8],
  mcastFlood: [27, boolean8],
  mcastToUcast: [28, boolean8],
  vlanTunnel: [29, boolean8],
  bcastFlood: [30, boolean8],
  groupFwdMask: [31, u16],
  neighSuppress: [32, boolean8],
  /** The port exchanges frames only with ports that are not isolated, and with the bridge itself. */
  isolated: [33, boolean8],
  backupPort: [34, u32],
  mrpRingOpen: [35, boolean8],
  mrpInOpen: [36, boolean8],
  mcastEhtHostsLimit: [37, u32],
  mcastEhtHostsCnt: [38, u32],
  locked: [39, boolean8],
})

export type BridgePortSettings = Values<typeof bridgePortAttributes>
