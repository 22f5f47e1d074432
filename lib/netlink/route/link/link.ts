/** A network interface as the kernel reports it. */

import type { MacAddress } from '../../../address/mac.ts'
import type { Values } from '../../codec.ts'
import type { Answer } from '../../message.ts'
import { present } from '../present.ts'
import type { Ipv4DeviceSettings, Ipv6DeviceSettings } from './device-configuration.ts'
import { LinkFlag } from './header.ts'
import type { BridgePortSettings } from './kinds/bridge-port.ts'
import { type KindSettings, kindsWithSettings } from './kinds/index.ts'
import { type VxlanSettings, vxlanFromAttributes } from './kinds/vxlan.ts'
import type { linkFormat, operStates } from './message.ts'
import type { LinkStatistics } from './statistics.ts'

/** Settings of the link's kind stand under the kind's name: `link.bridge?.vlanFiltering`. */
export interface Link extends Partial<KindSettings> {
  readonly index: number
  readonly name: string
  /** "veth", "bridge", ...; absent for a device that no kind made (Ethernet card, loopback). */
  readonly kind?: string
  /** ARPHRD_* of linux/if_arp.h: 1 Ethernet, 772 loopback. */
  readonly type: number
  /** Bits of IFF_* of linux/if.h. */
  readonly flags: number
  /** Whether it was brought up; see `operState` for whether traffic can pass. */
  readonly up: boolean
  readonly loopback: boolean
  /** Whether it was made promiscuous by name; a bridge's ports are so without it. */
  readonly promiscuous: boolean
  readonly operState: keyof typeof operStates | number
  readonly mtu: number
  readonly minMtu?: number
  readonly maxMtu?: number
  readonly mac?: MacAddress
  /** The hardware's own address, where it has one. */
  readonly permanentMac?: MacAddress
  /** Index of the bridge (bond, VRF) that it is a port of. */
  readonly master?: number
  /** Its settings as the port of a bridge. */
  readonly bridgePort?: BridgePortSettings
  /** Index of the link beneath (of a macvlan, a vlan), or of a veth's other end. */
  readonly parent?: number
  /** Where `parent` is, when that is another namespace: this namespace's id for it, -1 when it has none. */
  readonly parentNamespaceId?: number
  readonly group: number
  readonly alias?: string
  readonly alternativeNames: readonly string[]
  readonly txQueueLength: number
  /** How many have asked for promiscuous mode. */
  readonly promiscuity: number
  readonly ipv4Conf?: Ipv4DeviceSettings
  readonly ipv6Conf?: Ipv6DeviceSettings
  readonly statistics?: LinkStatistics
}

type LinkAttributes = Values<(typeof linkFormat)['attributes']>
type LinkAnswer = Answer<{ type?: number; index?: number; flags?: number }, (typeof linkFormat)['attributes']>

export function decodeLink({ header, attributes }: LinkAnswer): Link {
  const flags = header.flags ?? 0
  return {
    index: header.index ?? 0,
    name: attributes.ifname ?? '',
    type: header.type ?? 0,
    flags,
    up: (flags & LinkFlag.up) !== 0,
    loopback: (flags & LinkFlag.loopback) !== 0,
    promiscuous: (flags & LinkFlag.promiscuous) !== 0,
    operState: attributes.operstate ?? 'unknown',
    mtu: attributes.mtu ?? 0,
    group: attributes.group ?? 0,
    alternativeNames: attributes.propList ?? [],
    txQueueLength: attributes.txqlen ?? 0,
    promiscuity: attributes.promiscuity ?? 0,
    ...present({
      minMtu: attributes.minMtu,
      maxMtu: attributes.maxMtu,
      mac: attributes.address,
      permanentMac: attributes.permAddress,
      master: attributes.master,
      parent: attributes.link,
      parentNamespaceId: attributes.linkNetnsid,
      alias: attributes.ifalias,
      ipv4Conf: attributes.afSpec?.ipv4?.conf,
      ipv6Conf: attributes.afSpec?.ipv6,
      statistics: attributes.stats64,
    }),
    ...decodeKind(attributes),
  }
}

function decodeKind({ linkinfo }: LinkAttributes): Pick<Partial<Link>, 'kind' | 'bridgePort' | keyof KindSettings> {
  const kind = linkinfo?.kind
  const data = linkinfo?.data
  const known = kindsWithSettings.find(name => name === kind)
  return {
    ...(kind === undefined ? {} : { kind }),
    // The decoder chose the table by the same kind.
    ...(known === undefined || data === undefined
      ? {}
      : { [known]: known === 'vxlan' ? vxlanFromAttributes(data as VxlanSettings) : data }),
    ...(linkinfo?.slaveKind === 'bridge' && linkinfo.slaveData !== undefined
      ? { bridgePort: linkinfo.slaveData as BridgePortSettings }
      : {}),
  }
}
