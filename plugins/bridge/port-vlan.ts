/** VLANs of the bridge's port: an access port has one of them untagged, a trunk carries several tagged. */

import type { Transaction } from '../../lib/cni/transaction.ts'
import {
  addBridgeVlansRequest,
  type BridgeVlan,
  deleteBridgeVlansRequest,
  type Link,
  listBridgePorts,
} from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { BridgeConfig } from './config.ts'

/** The VLAN that a port gets from the bridge by default. */
const DEFAULT_VLAN = 1

export function usesVlans(config: BridgeConfig): boolean {
  return config.vlan > 0 || config.vlanTrunk.length > 0
}

/** What the configuration asks for: the access VLAN, the trunk, and for a trunk alone the native VLAN 1. */
export function wantedVlans(config: BridgeConfig): BridgeVlan[] {
  const trunk = config.vlanTrunk.map(({ from, to }) => (from === to ? { id: from } : { id: from, lastId: to }))
  return [{ id: config.vlan > 0 ? config.vlan : DEFAULT_VLAN, pvid: true, untagged: true }, ...trunk]
}

/** Gives the port its VLANs. They go with the port, so nothing is to be undone. */
export function setPortVlans(transaction: Transaction, host: NetlinkSocket, port: Link, config: BridgeConfig): void {
  transaction.step(`set VLANs of port "${port.name}"`, () =>
    replaceVlans(host, port, wantedVlans(config), config.preserveDefaultVlan),
  )
}

/** Puts the port into these VLANs, and out of those that the bridge has given it, unless they are to be kept. */
export function replaceVlans(
  host: NetlinkSocket,
  { index }: { readonly index: number },
  vlans: readonly BridgeVlan[],
  keepOthers: boolean,
): void {
  const others = keepOthers ? [] : (listBridgePorts(host, { index })[0]?.vlans ?? [])
  host.executeAll([
    ...(others.length > 0 ? [deleteBridgeVlansRequest({ index, vlans: others })] : []),
    addBridgeVlansRequest({ index, vlans }),
  ])
}

/** Whether a port with these VLANs is in the wanted, and with `pvid` in no other by default. */
export function hasVlan(present: readonly BridgeVlan[], want: BridgeVlan): boolean {
  return present.some(
    have =>
      have.id <= want.id && (have.lastId ?? have.id) >= (want.lastId ?? want.id) && (!want.pvid || have.pvid === true),
  )
}

/** The wanted VLANs that the port does not have, as the configuration says them. */
export function missingVlans(host: NetlinkSocket, port: Link, config: BridgeConfig): BridgeVlan[] {
  const present = listBridgePorts(host, { index: port.index })[0]?.vlans ?? []
  return wantedVlans(config).filter(want => !hasVlan(present, want))
}
