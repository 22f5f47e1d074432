/**
 * Ports of bridges and their VLANs, in messages of the family AF_BRIDGE: `bridge link`, `bridge vlan`.
 * @see linux/if_bridge.h, IFLA_BRIDGE_*
 */

import { attributeTable, nested, repeated, string, struct, u16, u32 } from '../../codec.ts'
import { type Request, request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { AddressFamily } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { linkHeader } from './header.ts'
import { type BridgePortSettings, bridgePortAttributes } from './kinds/bridge-port.ts'
import { ExtendedMask } from './message.ts'

/** IFLA_AF_SPEC of this family is laid out differently from that of link messages. */
const bridgeSpecAttributes = attributeTable('IFLA_BRIDGE', {
  flags: [0, u16],
  mode: [1, u16],
  vlanInfo: [2, repeated(struct({ flags: u16, vid: u16 }))],
})

export const bridgePortFormat = {
  header: linkHeader,
  attributes: attributeTable('IFLA', {
    ifname: [3, string],
    master: [10, u32],
    protinfo: [12, nested(bridgePortAttributes)],
    afSpec: [26, nested(bridgeSpecAttributes)],
    extMask: [29, u32],
  }),
}

/** BRIDGE_FLAGS_SELF: the message is for the bridge itself and not for the bridge of a port. */
const SELF = 2
/** BRIDGE_VLAN_INFO_* */
const VlanFlag = { pvid: 2, untagged: 4, rangeBegin: 8, rangeEnd: 16 } as const

/** A VLAN of a port, or a range of them with the same flags. */
export interface BridgeVlan {
  /** 1 to 4094 */
  readonly id: number
  /** The last of a range. */
  readonly lastId?: number
  /** Frames that come in without a tag belong to it. Not for ranges. */
  readonly pvid?: boolean
  /** Frames leave without the tag. */
  readonly untagged?: boolean
}

export interface BridgeVlanTarget {
  /** Index of the port; with `self`, of the bridge. */
  readonly index: number
  /** For the bridge's own traffic. */
  readonly self?: boolean
  readonly vlans: readonly BridgeVlan[]
}

function encodeVlan({ id, lastId, pvid, untagged }: BridgeVlan): { flags: number; vid: number }[] {
  const flags = (pvid ? VlanFlag.pvid : 0) | (untagged ? VlanFlag.untagged : 0)
  if (lastId === undefined || lastId === id) return [{ flags, vid: id }]
  return [
    { flags: flags | VlanFlag.rangeBegin, vid: id },
    { flags: flags | VlanFlag.rangeEnd, vid: lastId },
  ]
}

function vlanRequest(type: number, verb: string, { index, self, vlans }: BridgeVlanTarget): Request {
  const ids = vlans.map(vlan => (vlan.lastId === undefined ? vlan.id : `${vlan.id}-${vlan.lastId}`))
  return request(bridgePortFormat, {
    type,
    operation: `${verb} VLAN ${ids.join(', ')} of ${self ? 'bridge' : 'bridge port'} ${index}`,
    header: { family: AddressFamily.bridge, index },
    attributes: { afSpec: { ...(self ? { flags: SELF } : {}), vlanInfo: vlans.flatMap(encodeVlan) } },
  })
}

/** `bridge vlan add`. */
export function addBridgeVlansRequest(target: BridgeVlanTarget): Request {
  return vlanRequest(RouteMessage.setLink, 'add', target)
}

/** `bridge vlan delete`. A VLAN that the port does not have is no error. */
export function deleteBridgeVlansRequest(target: BridgeVlanTarget): Request {
  return vlanRequest(RouteMessage.deleteLink, 'delete', target)
}

/** A port of a bridge; the bridge itself, when it has VLANs, is its own master. */
export interface BridgePort {
  readonly index: number
  readonly name: string
  readonly master: number
  readonly settings: BridgePortSettings
  /** Empty where the kernel cannot filter VLANs. */
  readonly vlans: readonly BridgeVlan[]
}

function decodeVlans(entries: readonly { flags?: number; vid?: number }[]): BridgeVlan[] {
  const vlans: BridgeVlan[] = []
  let first: number | undefined
  for (const { flags = 0, vid = 0 } of entries) {
    if (flags & VlanFlag.rangeBegin) {
      first = vid
      continue
    }
    vlans.push({
      id: first ?? vid,
      ...(first === undefined ? {} : { lastId: vid }),
      ...(flags & VlanFlag.pvid ? { pvid: true } : {}),
      ...(flags & VlanFlag.untagged ? { untagged: true } : {}),
    })
    first = undefined
  }
  return vlans
}

/** The ports of one bridge, or of all. @param filter.master index of the bridge @throws NetlinkError */
export function listBridgePorts(
  socket: NetlinkSocket,
  filter: { readonly master?: number; readonly index?: number } = {},
): BridgePort[] {
  const answers = socket.dump(
    bridgePortFormat,
    request(bridgePortFormat, {
      type: RouteMessage.getLink,
      operation: 'list bridge ports',
      header: { family: AddressFamily.bridge },
      attributes: { extMask: ExtendedMask.bridgeVlansCompressed },
    }),
  )
  const ports = answers.map(({ header, attributes }): BridgePort => {
    const index = header.index ?? 0
    return {
      index,
      name: attributes.ifname ?? '',
      master: attributes.master ?? index,
      settings: attributes.protinfo ?? {},
      vlans: decodeVlans(attributes.afSpec?.vlanInfo ?? []),
    }
  })
  // The kernel has no filter for this dump.
  return ports.filter(
    port =>
      (filter.master === undefined || port.master === filter.master) &&
      (filter.index === undefined || port.index === filter.index),
  )
}
