/** Network interfaces, as in `ip link` and `bridge link`. */

export {
  addBridgeVlansRequest,
  type BridgePort,
  type BridgeVlan,
  type BridgeVlanTarget,
  deleteBridgeVlansRequest,
  listBridgePorts,
} from './bridge-vlan.ts'
export type { Ipv4DeviceSettings, Ipv6DeviceSettings } from './device-configuration.ts'
export { LinkFlag } from './header.ts'
export type { BridgeSettings } from './kinds/bridge.ts'
export type { BridgePortSettings } from './kinds/bridge-port.ts'
export type { IpvlanSettings } from './kinds/ipvlan.ts'
export type { MacvlanSettings } from './kinds/macvlan.ts'
export type { TunSettings } from './kinds/tun.ts'
export type { VlanSettings } from './kinds/vlan.ts'
export type { VrfSettings } from './kinds/vrf.ts'
export type { VxlanSettings } from './kinds/vxlan.ts'
export type { Link } from './link.ts'
export {
  addAlternativeNamesRequest,
  addLinkRequest,
  deleteAlternativeNamesRequest,
  deleteLinkRequest,
  type LinkTarget,
  setLinkRequest,
} from './requests.ts'
export type { CommonSettings, LinkChanges, NewLink } from './settings.ts'
export type { LinkStatistics } from './statistics.ts'
export { addLink, deleteLink, deleteLinks, getLink, type LinkFilter, listLinks, setLink } from './verbs.ts'
