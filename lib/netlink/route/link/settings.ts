/** What can be asked of a link, and how it is put into a message. */

import type { MacAddress } from '../../../address/mac.ts'
import type { Values } from '../../codec.ts'
import type { Ipv4DeviceSettings, Ipv6DeviceSettings } from './device-configuration.ts'
import { LinkFlag } from './header.ts'
import type { BridgePortSettings } from './kinds/bridge-port.ts'
import { type KindSettings, kindsWithSettings } from './kinds/index.ts'
import { type VxlanSettings, vxlanToAttributes } from './kinds/vxlan.ts'
import type { linkFormat } from './message.ts'

type Optional<T> = { readonly [K in keyof T]?: T[K] | undefined }

/** For every link, new or there already. What is left out stays as it is. */
export interface CommonSettings {
  readonly name?: string | undefined
  readonly mtu?: number | undefined
  readonly mac?: MacAddress | undefined
  readonly up?: boolean | undefined
  readonly promiscuous?: boolean | undefined
  readonly allMulticast?: boolean | undefined
  readonly arp?: boolean | undefined
  readonly multicast?: boolean | undefined
  /** A number by which links can be deleted together. */
  readonly group?: number | undefined
  readonly txQueueLength?: number | undefined
  /** Descriptor of the network namespace in which it is to be. */
  readonly namespace?: number | undefined
}

/** The settings of at most one kind, under its name. */
export type OptionalKindSettings = Optional<KindSettings>

export interface NewLink extends CommonSettings, OptionalKindSettings {
  readonly name: string
  /** "bridge", "veth", "ifb", ...: as in `ip link add type`. */
  readonly kind: string
  /** Of a veth: the other end. The kernel cannot bring it up (ENOTCONN): the ends are not connected yet. */
  readonly peer?: (Omit<CommonSettings, 'up'> & { readonly name: string }) | undefined
  /** Index of the bridge that it becomes a port of. */
  readonly master?: number | undefined
  /** Index of the link beneath. */
  readonly parent?: number | undefined
  /** The namespace of `parent`, by this namespace's id for it, when it is another. */
  readonly parentNamespaceId?: number | undefined
  /** The new link's index, where it matters. */
  readonly index?: number | undefined
  readonly numTxQueues?: number | undefined
  readonly numRxQueues?: number | undefined
}

export interface LinkChanges extends CommonSettings, OptionalKindSettings {
  /** Index of the bridge to become a port of; 0 to be none. */
  readonly master?: number | undefined
  /** Of a link that is the port of a bridge already. */
  readonly bridgePort?: BridgePortSettings | undefined
  /** Text that stays with the link, 255 bytes at most; "" removes it. */
  readonly alias?: string | undefined
  /** May be left out when the settings of the kind tell it. */
  readonly kind?: string | undefined
  /** The kernel brings a link up before it looks at these: a request has them, or `up`, not both. */
  readonly ipv4Conf?: Ipv4DeviceSettings | undefined
  readonly ipv6Conf?: Ipv6DeviceSettings | undefined
}

type Attributes = Values<(typeof linkFormat)['attributes']>

/** For struct ifinfomsg. */
export function flagsOf(settings: CommonSettings): { flags: number; change: number } {
  let [flags, change] = [0, 0]
  const put = (bit: number, value: boolean | undefined) => {
    if (value === undefined) return
    change |= bit
    if (value) flags |= bit
  }
  put(LinkFlag.up, settings.up)
  put(LinkFlag.promiscuous, settings.promiscuous)
  put(LinkFlag.allMulticast, settings.allMulticast)
  put(LinkFlag.multicast, settings.multicast)
  put(LinkFlag.noArp, settings.arp === undefined ? undefined : !settings.arp)
  return { flags, change }
}

export function commonAttributes(settings: CommonSettings) {
  return {
    ifname: settings.name,
    mtu: settings.mtu,
    address: settings.mac,
    group: settings.group,
    txqlen: settings.txQueueLength,
    netNsFd: settings.namespace,
  }
}

/** IFLA_LINKINFO: the kind and its settings, and those of a bridge port. */
export function linkInfoOf(settings: LinkChanges & Pick<NewLink, 'peer'>): Attributes['linkinfo'] {
  const given = kindsWithSettings.filter(name => settings[name] !== undefined)
  const kind = settings.kind ?? given[0]
  if (given.some(name => name !== kind))
    throw new TypeError(`a link of kind "${kind}" has no settings of ${given.join(', ')}`)
  const bridgePort = settings.bridgePort && { slaveKind: 'bridge', slaveData: settings.bridgePort }
  if (kind === undefined) return bridgePort
  return { kind, ...kindData(kind, settings), ...bridgePort }
}

function kindData(kind: string, settings: OptionalKindSettings & Pick<NewLink, 'peer'>) {
  if (kind === 'veth' && settings.peer !== undefined) {
    const { peer } = settings
    return { data: { peer: { header: flagsOf(peer), attributes: commonAttributes(peer) } } }
  }
  const data = settings[kind as keyof KindSettings]
  if (data === undefined) return {}
  return { data: kind === 'vxlan' ? vxlanToAttributes(data as VxlanSettings) : data }
}
