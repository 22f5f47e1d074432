/** The overlay's configuration: what the document says, checked, with defaults filled in. */

import { schema, validate } from '#validators/overlay'
import {
  equalAddresses,
  type Family,
  familyOf,
  formatAddress,
  type IpAddress,
  isMulticast,
  parseAddress,
} from '../../lib/address/address.ts'
import type { MacAddress } from '../../lib/address/mac.ts'
import { formatPrefix, isPrefix, networkOf, type Prefix, parsePrefix, samePrefix } from '../../lib/address/prefix.ts'
import { requestedMac } from '../../lib/attachment/mac.ts'
import { givenDns } from '../../lib/attachment/result.ts'
import { parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, Dns, NetworkRequest } from '../../lib/cni/types.ts'
import { DEFAULT_AGENT_SOCKET, type ServiceMembership } from '../../lib/overlay/agent-protocol.ts'
import { DEFAULT_GATEWAY_BRIDGE, type GatewayBridgeConfig } from '../../lib/overlay/gateway-bridge.ts'
import { checkServices } from '../../lib/overlay/mesh/ports.ts'
import { readService, type ServiceDocument, servicesFromArguments } from './services.ts'

/** The document, keys in the schema's spelling. */
interface OverlayDocument {
  vni?: number
  port?: number
  mtu?: number
  internal?: boolean
  mac?: string
  controlPlane: ControlPlaneDocument
  gatewayBridge?: { name?: string; subnet?: string; ipv6Subnet?: string }
  services?: ServiceDocument[]
  ipam: { type: string }
  dns?: Dns
  runtimeConfig?: { mac?: string; ips?: string[] }
  args?: { cni?: { mac?: string; ips?: string[]; services?: ServiceDocument[] } }
}

interface ControlPlaneDocument {
  type: 'static' | 'multicast' | 'etcd'
  local?: string
  peers?: string[]
  group?: string
  interface?: string
  socket?: string
}

/** A list of hosts that every host is given: packets for everybody go to each of them. */
export interface StaticControlPlane {
  readonly type: 'static'
  readonly vni: number
  readonly port: number
  /** Undefined: the one of the peers that is this host's. */
  readonly local: IpAddress | undefined
  readonly peers: readonly IpAddress[]
}

/** A group: packets for everybody go to it. */
export interface MulticastControlPlane {
  readonly type: 'multicast'
  readonly vni: number
  readonly port: number
  readonly local: IpAddress | undefined
  readonly group: IpAddress
  readonly interface: string
  /** Whose packets are taken; undefined: everybody's. */
  readonly peers: readonly IpAddress[] | undefined
}

/** The agent on this host knows everything; what is undefined here it decides. */
export interface AgentControlPlane {
  readonly type: 'etcd'
  readonly vni: number | undefined
  readonly port: number | undefined
  readonly socket: string
}

export type ControlPlane = StaticControlPlane | MulticastControlPlane | AgentControlPlane

export interface OverlayConfig {
  readonly controlPlane: ControlPlane
  /** 0 for what the underlay leaves. */
  readonly mtu: number
  readonly internal: boolean
  readonly gatewayBridge: GatewayBridgeConfig
  readonly services: readonly ServiceMembership[]
  /** Whether the addresses were asked for by name. */
  readonly explicitAddresses: boolean
  readonly ipamType: string
  readonly mac: MacAddress | undefined
  readonly dns: Dns | undefined
}

/** IANA's port for VXLAN, RFC 7348. */
const VXLAN_PORT = 4789

/** @throws CniError code 7, or 4 for what stands in CNI_ARGS */
export function parseOverlayConfig(request: NetworkRequest & Partial<Pick<AttachmentRequest, 'args'>>): OverlayConfig {
  const document = parseConfig<OverlayDocument>(request.config, schema, validate)
  const { mtu = 0, ipam, runtimeConfig, args } = document
  if (mtu > 0 && mtu < 68) refuse(`"mtu" is ${mtu}`, 'set 0 (what the underlay leaves) or 68 to 65535')
  const controlPlane = readControlPlane(document)
  const services = [
    ...(document.services ?? []).map(readService),
    ...(args?.cni?.services ?? []).map(readService),
    ...servicesFromArguments(request.args),
  ]
  refuseWithoutAgent(services, controlPlane.type)
  checkServices(services)
  const asked = (runtimeConfig?.ips?.length ?? 0) + (args?.cni?.ips?.length ?? 0) > 0
  return {
    controlPlane,
    mtu,
    internal: document.internal ?? false,
    gatewayBridge: readGatewayBridge(document.gatewayBridge ?? {}),
    services,
    explicitAddresses: asked || ipam.type === 'static' || Boolean(request.args?.get('IP')),
    ipamType: ipam.type,
    mac: requestedMac(document, request.args),
    dns: givenDns(document.dns),
  }
}

function readControlPlane({ vni, port, controlPlane }: OverlayDocument): ControlPlane {
  const { type, socket } = controlPlane
  refuseForeignKeys(controlPlane)
  if (type === 'etcd') return { type, vni, port, socket: socket ?? DEFAULT_AGENT_SOCKET }
  if (vni === undefined) {
    refuse(
      `required "vni" is missing: with the control plane "${type}" nobody else gives the network its number`,
      'set it to a number from 1 to 16777215, the same on all hosts',
    )
  }
  const local = controlPlane.local === undefined ? undefined : readUnicast(controlPlane.local, 'controlPlane.local')
  const peers = controlPlane.peers?.map((text, index) => readUnicast(text, `controlPlane.peers[${index}]`))
  refuseRepeated(peers ?? [])
  const tunnel = { vni, port: port ?? VXLAN_PORT, local }
  if (type === 'static') {
    if (local === undefined && (peers ?? []).length === 0) {
      refuse(
        '"controlPlane" has neither "peers" nor "local"',
        'list one address of each host of the network in "peers"',
      )
    }
    refuseMixture([...(local === undefined ? [] : [local]), ...(peers ?? [])])
    return { type, ...tunnel, peers: peers ?? [] }
  }
  const group = controlPlane.group === undefined ? undefined : parseAddress(controlPlane.group)
  if (group === undefined || !isMulticast(group)) {
    refuse(
      `"controlPlane.group" is ${JSON.stringify(controlPlane.group)}, but must be a multicast address`,
      'take one of 239.0.0.0/8, or of ff05::/16',
    )
  }
  if (controlPlane.interface === undefined) {
    refuse('required "controlPlane.interface" is missing', 'name the interface of the host that carries the group')
  }
  refuseMixture([group, ...(local === undefined ? [] : [local]), ...(peers ?? [])])
  return { type, ...tunnel, group, interface: controlPlane.interface, peers }
}

/** Keys of each control plane: one of another's would be without effect, and so is a mistake. */
const keysOf: Readonly<Record<ControlPlaneDocument['type'], readonly string[]>> = {
  static: ['type', 'local', 'peers'],
  multicast: ['type', 'local', 'peers', 'group', 'interface'],
  etcd: ['type', 'socket'],
}

function refuseForeignKeys(controlPlane: ControlPlaneDocument): void {
  const { type } = controlPlane
  for (const key in controlPlane) {
    if (keysOf[type].includes(key)) continue
    refuse(
      `"controlPlane.${key}" means nothing with the control plane "${type}"`,
      `it has the keys ${keysOf[type].join(', ')}; with "etcd" the agent's settings have the rest`,
    )
  }
}

function readUnicast(text: string, path: string): IpAddress {
  const address = parseAddress(text)
  if (address !== undefined && !isMulticast(address) && address.some(byte => byte !== 0)) return address
  return refuse(
    `"${path}" is ${JSON.stringify(text)}, but must be a host's address`,
    'write "192.0.2.1" or "2001:db8::1"',
  )
}

function refuseRepeated(peers: readonly IpAddress[]): void {
  for (const [index, peer] of peers.entries()) {
    if (!peers.slice(0, index).some(other => equalAddresses(other, peer))) continue
    refuse(`"controlPlane.peers" has ${formatAddress(peer)} twice`, 'list each host once')
  }
}

/** A tunnel has one underlay. */
function refuseMixture(addresses: readonly IpAddress[]): void {
  const [first] = addresses
  const other = first && addresses.find(address => familyOf(address) !== familyOf(first))
  if (first === undefined || other === undefined) return
  refuse(
    `"controlPlane" has addresses of both families: ${formatAddress(first)} and ${formatAddress(other)}`,
    "a network's tunnels run over IPv4 or over IPv6: take one family; inside the network both may be used",
  )
}

function readGatewayBridge(document: { name?: string; subnet?: string; ipv6Subnet?: string }): GatewayBridgeConfig {
  const { name = DEFAULT_GATEWAY_BRIDGE, subnet, ipv6Subnet } = document
  return {
    name,
    subnets: [
      readSubnet(subnet, 4, 'gatewayBridge.subnet', '172.18.0.0/16'),
      readSubnet(ipv6Subnet, 6, 'gatewayBridge.ipv6Subnet', 'fd00:18::/64'),
    ].filter(isPrefix),
  }
}

function readSubnet(text: string | undefined, family: Family, path: string, example: string): Prefix | undefined {
  if (text === undefined) return undefined
  const subnet = parsePrefix(text)
  if (subnet === undefined || familyOf(subnet.address) !== family) {
    return refuse(`"${path}" is ${JSON.stringify(text)}, but must be an IPv${family} subnet`, `write "${example}"`)
  }
  const network = networkOf(subnet)
  if (!samePrefix(network, subnet))
    refuse(`"${path}" is ${text}, which has host bits set`, `write "${formatPrefix(network)}"`)
  if (subnet.length > subnet.address.length * 8 - 2) {
    refuse(`"${path}" is ${text}, too small for a bridge and a container`, 'give it four addresses at least')
  }
  return subnet
}

function refuseWithoutAgent(services: readonly ServiceMembership[], type: ControlPlane['type']): void {
  const [first] = services
  if (first !== undefined && type !== 'etcd') {
    refuse(
      `service "${first.name}" needs the control plane "etcd", but the network has "${type}"`,
      'run overlayd on all hosts and set "controlPlane": {"type": "etcd"}, or remove "services"',
    )
  }
}

function refuse(message: string, remedy: string): never {
  throw new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}
