/** CHECK: the attachment is as ADD left it. What later plugins of the chain may change is left to them. */

import { parseAddress } from '../../lib/address/address.ts'
import { samePrefix } from '../../lib/address/prefix.ts'
import {
  checkAddresses,
  checkInterface,
  checkRoutes,
  failCheck,
  type OwnAddress,
  ownAddresses,
  requirePrevResult,
} from '../../lib/attachment/check.ts'
import { forwardingSysctls } from '../../lib/attachment/gateway.ts'
import { findBridge } from '../../lib/attachment/shared-bridge.ts'
import { withSockets } from '../../lib/attachment/sockets.ts'
import { delegateCheck } from '../../lib/cni/delegate.ts'
import { hostVethName } from '../../lib/cni/names.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import { checkMasquerade } from '../../lib/firewall/masquerade.ts'
import { CHECKED_PORTS_GROUP, checkSpoofCheck } from '../../lib/firewall/spoof-check.ts'
import { listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { readSysctlIfExists } from '../../lib/netns/sysctl.ts'
import { type BridgeConfig, parseBridgeConfig } from './config.ts'
import { missingVlans, usesVlans } from './port-vlan.ts'
import { findVlanGateway, hasVlanGateway, isInVlan, type VlanGatewayConfig } from './vlan-gateway.ts'

export function check(request: AttachmentRequest): void {
  const config = parseBridgeConfig(request)
  const prevResult = requirePrevResult(request)
  if (config.ipamType !== undefined) delegateCheck(request, config.ipamType)
  const prefixes = ownAddresses(request, prevResult).map(({ prefix }) => prefix)
  withSockets(request.netns, ({ host, container }) => {
    const bridge = checkBridge(host, config)
    const port = findPort(host, request, prevResult)
    checkPort(host, port, config, bridge)
    const link = checkInterface(container, request, { kind: 'veth', up: !config.disableContainerInterface }, prevResult)
    if (link.parent !== port.index) {
      failCheck(
        `"${request.ifname}" is not the other end of "${port.name}"`,
        `its peer has index ${link.parent}, not ${port.index}`,
      )
    }
    if (config.macSpoofCheck) checkSources(request, port, link)
    checkAddresses(container, link, prefixes)
    if (config.ipamType !== undefined) checkRoutes(container, request.ifname, prevResult.routes ?? [])
    if (config.isGateway) {
      const gateway = hasVlanGateway(config) ? checkVlanGateway(host, config, bridge) : bridge
      checkGateway(host, gateway, ownAddresses(request, prevResult))
    }
  })
  if (config.masquerade !== undefined)
    checkMasquerade(config.masquerade, request, prefixes, { environment: request.environment })
}

function checkBridge(host: NetlinkSocket, config: BridgeConfig): Link {
  const bridge = findBridge(host, config.bridge)
  if (bridge === undefined) failCheck(`bridge "${config.bridge}" is gone`)
  if (!bridge.up) failCheck(`bridge "${bridge.name}" is down`, `"ip link set ${bridge.name} up" brings it back`)
  if (config.promiscMode && !bridge.promiscuous) failCheck(`bridge "${bridge.name}" is not in promiscuous mode`)
  return bridge
}

/** By its derived name; that of an attachment which the Go plugin made stands in its result alone. */
function findPort(host: NetlinkSocket, request: AttachmentRequest, result: Result): Link {
  const name = hostVethName(request.network, request.containerId, request.ifname)
  const ofHost = (result.interfaces ?? []).filter(one => !one.sandbox && one.name.startsWith('veth'))
  for (const candidate of [name, ...ofHost.map(one => one.name)]) {
    const port = getLink(host, { name: candidate })
    if (port !== undefined) return port
  }
  return failCheck(`host interface "${name}" is gone`)
}

function checkPort(host: NetlinkSocket, port: Link, config: BridgeConfig, bridge: Link): void {
  const { name } = port
  if (port.kind !== 'veth') failCheck(`host interface "${name}" is of kind "${port.kind}", not "veth"`)
  if (port.master !== bridge.index) {
    failCheck(
      `"${name}" is not attached to bridge "${bridge.name}"`,
      `"ip link set ${name} master ${bridge.name}" attaches it`,
    )
  }
  if (!port.up) failCheck(`host interface "${name}" is down`, `"ip link set ${name} up" brings it back`)
  if ((port.bridgePort?.hairpin ?? false) !== config.hairpinMode)
    failCheck(`hairpin mode of "${name}" is not ${config.hairpinMode}`)
  if ((port.bridgePort?.isolated ?? false) !== config.portIsolation)
    failCheck(`isolation of "${name}" is not ${config.portIsolation}`)
  const [missing] = usesVlans(config) ? missingVlans(host, port, config) : []
  if (missing !== undefined) failCheck(`VLAN ${missing.id} is gone from port "${name}"`)
}

function checkSources(request: AttachmentRequest, port: Link, { mac }: Link): void {
  if (port.group !== CHECKED_PORTS_GROUP) {
    failCheck(
      `"${port.name}" is not in the link group of ports whose MAC addresses are checked`,
      `"ip link set ${port.name} group ${CHECKED_PORTS_GROUP}" puts it back`,
    )
  }
  if (mac !== undefined) checkSpoofCheck(request, { port: port.name, mac })
}

function checkVlanGateway(host: NetlinkSocket, config: VlanGatewayConfig, bridge: Link): Link {
  const name = config.vlanGateway
  const gateway = findVlanGateway(host, config, bridge)
  if (gateway === undefined) failCheck(`gateway "${name}" of VLAN ${config.vlan} is gone`)
  for (const link of [gateway.link, gateway.port]) {
    if (link?.up === false) failCheck(`"${link.name}" is down`, `"ip link set ${link.name} up" brings it back`)
  }
  if (gateway.port !== undefined && !isInVlan(host, config, gateway.port)) {
    failCheck(`VLAN ${config.vlan} is gone from port "${gateway.port.name}" of gateway "${name}"`)
  }
  return gateway.link
}

function checkGateway(host: NetlinkSocket, gateway: Link, own: readonly OwnAddress[]): void {
  const present = listAddresses(host, { index: gateway.index })
  for (const { prefix, gateway: text } of own) {
    const address = text === undefined ? undefined : parseAddress(text)
    if (address !== undefined && !present.some(one => samePrefix(one.prefix, { address, length: prefix.length }))) {
      failCheck(
        `"${gateway.name}" has lost the gateway address ${text}/${prefix.length}`,
        `"ip address add ${text}/${prefix.length} dev ${gateway.name}" brings it back`,
      )
    }
  }
  for (const name of forwardingSysctls(own.map(({ prefix }) => prefix))) {
    if (readSysctlIfExists(name) !== '1')
      failCheck(`forwarding is off: sysctl ${name} is not 1`, `"sysctl -w ${name}=1" turns it on`)
  }
}
