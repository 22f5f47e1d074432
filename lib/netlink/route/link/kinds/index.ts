/** What each kind of link (`ip link ... type KIND`) has of its own. Kinds without attributes (ifb, dummy) need no line. */

import { type BridgeSettings, bridgeAttributes } from './bridge.ts'
import { type IpvlanSettings, ipvlanAttributes } from './ipvlan.ts'
import { type MacvlanSettings, macvlanAttributes } from './macvlan.ts'
import { type TunSettings, tunAttributes } from './tun.ts'
import { vethAttributes } from './veth.ts'
import { type VlanSettings, vlanAttributes } from './vlan.ts'
import { type VrfSettings, vrfAttributes } from './vrf.ts'
import { type VxlanSettings, vxlanAttributes } from './vxlan.ts'

/** IFLA_INFO_DATA by IFLA_INFO_KIND. */
export const kindAttributes = {
  bridge: bridgeAttributes,
  ipvlan: ipvlanAttributes,
  macvlan: macvlanAttributes,
  tun: tunAttributes,
  veth: vethAttributes,
  vlan: vlanAttributes,
  vrf: vrfAttributes,
  vxlan: vxlanAttributes,
} as const

/** A kind's settings stand under its name. */
export interface KindSettings {
  readonly bridge: BridgeSettings
  readonly ipvlan: IpvlanSettings
  readonly macvlan: MacvlanSettings
  readonly tun: TunSettings
  readonly vlan: VlanSettings
  readonly vrf: VrfSettings
  readonly vxlan: VxlanSettings
}

export const kindsWithSettings = ['bridge', 'ipvlan', 'macvlan', 'tun', 'vlan', 'vrf', 'vxlan'] as const
