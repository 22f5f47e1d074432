/** The bridge's configuration: what the document says, checked, with defaults filled in. */

import { schema, validate } from '#validators/bridge'
import type { MacAddress } from '../../lib/address/mac.ts'
import { requestedMac } from '../../lib/attachment/mac.ts'
import { givenDns } from '../../lib/attachment/result.ts'
import { parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, Dns, NetworkRequest } from '../../lib/cni/types.ts'
import type { MasqueradeBackend } from '../../lib/firewall/masquerade.ts'

/** The document, keys in the schema's spelling. */
interface BridgeDocument {
  bridge?: string
  isGateway?: boolean
  isDefaultGateway?: boolean
  forceAddress?: boolean
  ipMasq?: boolean
  ipMasqBackend?: MasqueradeBackend
  mtu?: number
  hairpinMode?: boolean
  promiscMode?: boolean
  vlan?: number
  vlanTrunk?: { id?: number; minID?: number; maxID?: number }[]
  preserveDefaultVlan?: boolean
  macspoofchk?: boolean
  enabledad?: boolean
  disableContainerInterface?: boolean
  portIsolation?: boolean
  ipam?: { type?: string }
  dns?: Dns
  runtimeConfig?: { mac?: string }
  args?: { cni?: { mac?: string } }
}

/** VLANs of a trunk, both ends included. */
export interface VlanRange {
  readonly from: number
  readonly to: number
}

export interface BridgeConfig {
  readonly bridge: string
  readonly isGateway: boolean
  readonly isDefaultGateway: boolean
  readonly forceAddress: boolean
  /** Undefined when nothing is to be masqueraded. */
  readonly masquerade: MasqueradeBackend | undefined
  /** 0 leaves the choice to the kernel. */
  readonly mtu: number
  readonly hairpinMode: boolean
  readonly promiscMode: boolean
  /** 0 means none. */
  readonly vlan: number
  /** The link that has the gateway's addresses in place of the bridge: that of the VLAN. */
  readonly vlanGateway: string | undefined
  readonly vlanTrunk: readonly VlanRange[]
  readonly preserveDefaultVlan: boolean
  readonly macSpoofCheck: boolean
  readonly duplicateAddressDetection: boolean
  readonly disableContainerInterface: boolean
  readonly portIsolation: boolean
  /** Asked for the container's interface; undefined leaves the choice to us. */
  readonly mac: MacAddress | undefined
  /** Undefined for a network without addresses (layer 2 only). */
  readonly ipamType: string | undefined
  /** Replaces the IPAM plugin's when it says anything. */
  readonly dns: Dns | undefined
}

function refuse(message: string, remedy: string): never {
  throw new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}

/** @throws CniError code 7, or 4 for a MAC address in CNI_ARGS */
export function parseBridgeConfig(request: NetworkRequest & Partial<Pick<AttachmentRequest, 'args'>>): BridgeConfig {
  const document = parseConfig<BridgeDocument>(request.config, schema, validate)
  const isGateway = (document.isGateway || document.isDefaultGateway) ?? false
  const bridge = document.bridge || 'cni0'
  const vlan = document.vlan ?? 0
  const config: BridgeConfig = {
    bridge,
    isGateway,
    isDefaultGateway: document.isDefaultGateway ?? false,
    forceAddress: document.forceAddress ?? false,
    masquerade: document.ipMasq ? (document.ipMasqBackend ?? 'nftables') : undefined,
    mtu: document.mtu ?? 0,
    hairpinMode: document.hairpinMode ?? false,
    promiscMode: document.promiscMode ?? false,
    vlan,
    vlanGateway: isGateway && vlan > 0 && document.ipam?.type ? `${bridge}.${vlan}` : undefined,
    vlanTrunk: (document.vlanTrunk ?? []).map((range, index) => vlanRange(range, index)),
    preserveDefaultVlan: document.preserveDefaultVlan ?? false,
    macSpoofCheck: document.macspoofchk ?? false,
    duplicateAddressDetection: document.enabledad ?? false,
    disableContainerInterface: document.disableContainerInterface ?? false,
    portIsolation: document.portIsolation ?? false,
    ipamType: document.ipam?.type || undefined,
    mac: requestedMac(document, request.args),
    dns: givenDns(document.dns),
  }
  if (config.hairpinMode && config.promiscMode) {
    refuse('hairpinMode and promiscMode are both true', 'a bridge takes one of them: remove the other')
  }
  if (config.mtu > 0 && config.mtu < 68) refuse(`mtu is ${config.mtu}`, 'set 0 (the default) or 68 to 65535')
  if (config.disableContainerInterface && config.ipamType !== undefined) {
    refuse(
      `disableContainerInterface is true and ipam.type is "${config.ipamType}"`,
      'an interface that is down has no use for addresses: remove one of the two keys',
    )
  }
  refuseLongName('bridge name', config.bridge, 'choose a shorter name')
  if (config.vlanGateway !== undefined) {
    refuseLongName(
      'gateway name',
      config.vlanGateway,
      'it is made of "bridge" and "vlan": choose a shorter name for the bridge',
    )
  }
  return config
}

/** IFNAMSIZ - 1, linux/if.h */
const LINK_NAME_BYTES = 15

function refuseLongName(what: string, name: string, remedy: string): void {
  if (new TextEncoder().encode(name).length > LINK_NAME_BYTES) {
    refuse(`${what} "${name}" is longer than ${LINK_NAME_BYTES} bytes`, remedy)
  }
}

function vlanRange(range: { id?: number; minID?: number; maxID?: number }, index: number): VlanRange {
  const where = `vlanTrunk[${index}]`
  const { id, minID, maxID } = range
  if (id !== undefined && id > 0 && minID === undefined && maxID === undefined) return { from: id, to: id }
  if (id === undefined && minID !== undefined && maxID !== undefined) {
    if (minID <= maxID) return { from: minID, to: maxID }
    refuse(`${where}: minID ${minID} is above maxID ${maxID}`, 'swap the two')
  }
  return refuse(
    `${where} is ${JSON.stringify(range)}`,
    'give either {"id": N} or {"minID": N, "maxID": M}, with numbers from 1 to 4094',
  )
}
