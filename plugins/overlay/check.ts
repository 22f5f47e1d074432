/** CHECK: the attachment, and the network on this host, are as ADD left them. */

import { formatAddress } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import { formatPrefix, isPrefix, type Prefix, parsePrefix, prefixContains } from '../../lib/address/prefix.ts'
import {
  checkAddresses,
  checkInterface,
  checkRoutes,
  failCheck,
  ownAddresses,
  requirePrevResult,
} from '../../lib/attachment/check.ts'
import { forwardingSysctls } from '../../lib/attachment/gateway.ts'
import { type Sockets, withSockets } from '../../lib/attachment/sockets.ts'
import { delegateCheck } from '../../lib/cni/delegate.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import { checkMasquerade } from '../../lib/firewall/masquerade.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { readSysctlIfExists } from '../../lib/netns/sysctl.ts'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import { findGatewayBridge, gatewayAddresses } from '../../lib/overlay/gateway-bridge.ts'
import { overlayNamespaceName } from '../../lib/overlay/names.ts'
import { type OverlayNamespace, withOverlay } from '../../lib/overlay/namespace.ts'
import { checkPeers } from '../../lib/overlay/peers.ts'
import { floodPeers, isSameTunnel } from '../../lib/overlay/vxlan.ts'
import { overlayPortName } from './attachment-links.ts'
import { type OverlayConfig, parseOverlayConfig } from './config.ts'
import { settingsWithoutAgent } from './settings.ts'
import { gatewayPortName, masqueradedAttachment } from './way-out.ts'

export function check(request: AttachmentRequest): void {
  const config = parseOverlayConfig(request)
  const prevResult = requirePrevResult(request)
  delegateCheck(request, config.ipamType)
  const { network, containerId, ifname } = request
  const own = ownAddresses(request, prevResult).map(({ prefix }) => prefix)
  withSockets(request.netns, sockets => {
    const { host, container } = sockets
    const link = withOverlay(network, overlay => {
      if (overlay === undefined) return failCheck(`namespace "${overlayNamespaceName(network)}" is gone`)
      const bridge = checkNetwork(host, overlay, network, config)
      const port = checkPort(overlay.socket, overlayPortName(request), bridge)
      const end = checkInterface(container, request, { kind: 'veth', up: true }, prevResult)
      checkEnds(end, port)
      return end
    })
    checkAddresses(container, link, own)
    checkRoutes(container, ifname, prevResult.routes ?? [])
    checkWayOut(sockets, request, config, prevResult)
    if (config.controlPlane.type === 'etcd') {
      const { socket } = config.controlPlane
      const mac = link.mac === undefined ? {} : { mac: formatMac(link.mac) }
      callAgent(socket, 'check', { network, containerId, ifname, ...mac, addresses: own.map(formatPrefix) })
    }
  })
}

/** @returns the bridge */
function checkNetwork(host: NetlinkSocket, overlay: OverlayNamespace, network: string, config: OverlayConfig): Link {
  const { bridge, vxlan } = overlay
  if (bridge === undefined) failCheck(`the bridge of network "${network}" is gone`)
  if (vxlan === undefined) failCheck(`the VXLAN device of network "${network}" is gone`)
  for (const { name, up } of [bridge, vxlan]) if (!up) failCheck(`"${name}" of network "${network}" is down`)
  if (vxlan.master !== bridge.index) failCheck(`"${vxlan.name}" of network "${network}" is not attached to its bridge`)
  const { controlPlane, mtu } = config
  if (controlPlane.type === 'etcd') return bridge
  const settings = settingsWithoutAgent(network, controlPlane, mtu)
  const tunnel = settings.resolve(host)
  if (!isSameTunnel(vxlan, tunnel)) {
    failCheck(
      `the VXLAN device of network "${network}" has other settings than the configuration's`,
      `VNI ${vxlan.vxlan?.id}, port ${vxlan.vxlan?.port}, local ${vxlan.vxlan?.local && formatAddress(vxlan.vxlan.local)}`,
    )
  }
  const peers = settings.peers(tunnel)
  if (peers === undefined) return bridge
  checkPeers({ network, port: tunnel.port, vni: tunnel.vni, peers })
  if (tunnel.multicast !== undefined) return bridge
  const flooded = floodPeers(overlay.socket, vxlan).map(formatAddress)
  const lost = peers.map(formatAddress).find(peer => !flooded.includes(peer))
  if (lost !== undefined) failCheck(`network "${network}" no longer sends to peer ${lost}`)
  return bridge
}

function checkPort(socket: NetlinkSocket, name: string, bridge: Link): Link {
  const port = getLink(socket, { name })
  if (port === undefined) failCheck(`port "${name}" of bridge "${bridge.name}" is gone`)
  if (port.kind !== 'veth') failCheck(`port "${name}" is of kind "${port.kind}", not "veth"`)
  if (port.master !== bridge.index) failCheck(`"${name}" is not attached to bridge "${bridge.name}"`)
  if (!port.up) failCheck(`port "${name}" of bridge "${bridge.name}" is down`)
  return port
}

function checkEnds(end: Link, port: Link): void {
  if (end.parent === port.index) return
  failCheck(
    `"${end.name}" is not the other end of "${port.name}"`,
    `its peer has index ${end.parent}, not ${port.index}`,
  )
}

/** The interface on the gateway bridge, if the result says that ADD made one. */
function checkWayOut(
  { host, container }: Sockets,
  request: AttachmentRequest,
  { gatewayBridge, internal }: OverlayConfig,
  result: Result,
): void {
  const name = gatewayPortName(gatewayBridge.name, request)
  const listed = (result.interfaces ?? []).some(one => !one.sandbox && one.name === name)
  if (internal || !listed) return
  const bridge = findGatewayBridge(host, gatewayBridge.name)
  if (bridge === undefined) failCheck(`gateway bridge "${gatewayBridge.name}" is gone`)
  if (!bridge.up) failCheck(`gateway bridge "${bridge.name}" is down`, `"ip link set ${bridge.name} up" brings it back`)
  const port = checkPort(host, name, bridge)
  if (port.bridgePort?.isolated !== true) failCheck(`port "${name}" of "${bridge.name}" is not isolated`)
  const end = port.parent === undefined ? undefined : getLink(container, { index: port.parent })
  if (end === undefined) failCheck(`the container has lost its interface on "${bridge.name}"`)
  checkEnds(end, port)
  const addresses = addressesOf(result, end.name)
  checkAddresses(container, end, addresses)
  const gateways = gatewayAddresses(host, bridge)
  for (const address of addresses) {
    if (!gateways.some(gateway => prefixContains(gateway, address.address)))
      failCheck(`"${bridge.name}" has lost its address in the subnet of ${formatPrefix(address)}`)
  }
  for (const sysctl of forwardingSysctls(addresses)) {
    if (readSysctlIfExists(sysctl) !== '1')
      failCheck(`forwarding is off: sysctl ${sysctl} is not 1`, `"sysctl -w ${sysctl}=1" turns it on`)
  }
  checkMasquerade('nftables', masqueradedAttachment(gatewayBridge.name, request), addresses)
}

function addressesOf({ interfaces = [], ips = [] }: Result, name: string): Prefix[] {
  return ips
    .filter(
      ip => ip.interface !== undefined && interfaces[ip.interface]?.name === name && interfaces[ip.interface]?.sandbox,
    )
    .map(ip => parsePrefix(ip.address))
    .filter(isPrefix)
}
