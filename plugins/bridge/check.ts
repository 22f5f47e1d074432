/** CHECK: the attachment is as ADD left it. What later plugins of the chain may change is left to them. */

import { equalAddresses, parseAddress } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import { formatPrefix, networkOf, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import { delegateCheck } from '../../lib/cni/delegate.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { hostVethName } from '../../lib/cni/names.ts'
import type { AttachmentRequest, Result, Route } from '../../lib/cni/types.ts'
import { checkMasquerade } from '../../lib/firewall/masquerade.ts'
import { CHECKED_PORTS_GROUP, checkSpoofCheck } from '../../lib/firewall/spoof-check.ts'
import { listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { getLink, type Link } from '../../lib/netlink/route/link/index.ts'
import { listRoutes } from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { readSysctlIfExists } from '../../lib/netns/sysctl.ts'
import { findBridge } from './bridge-link.ts'
import { type BridgeConfig, parseBridgeConfig } from './config.ts'
import { forwardingSysctls, samePrefix } from './gateway.ts'
import { missingVlans, usesVlans } from './port-vlan.ts'
import { withSockets } from './sockets.ts'
import { findVlanGateway, hasVlanGateway, isInVlan, type VlanGatewayConfig } from './vlan-gateway.ts'

export function check(request: AttachmentRequest): void {
  const config = parseBridgeConfig(request)
  const { prevResult } = request
  if (prevResult === undefined) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      'required prevResult is missing',
      'CHECK needs the result of ADD',
    )
  }
  if (config.ipamType !== undefined) delegateCheck(request, config.ipamType)
  const prefixes = ownAddresses(request, prevResult).map(({ prefix }) => prefix)
  withSockets(request.netns, ({ host, container }) => {
    const bridge = checkBridge(host, config)
    const port = findPort(host, request, prevResult)
    checkPort(host, port, config, bridge)
    const link = checkInterface(container, request, config, prevResult)
    if (link.parent !== port.index) {
      fail(
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

function fail(message: string, details?: string): never {
  throw new CniError(ErrorCode.checkFailed, message, details ?? 'DEL and ADD set the attachment up anew')
}

interface OwnAddress {
  readonly prefix: Prefix
  readonly gateway: string | undefined
}

/** Addresses of the result that belong to this interface: other plugins' interfaces may stand in it too. */
function ownAddresses(request: AttachmentRequest, result: Result): OwnAddress[] {
  return (result.ips ?? []).flatMap(ip => {
    const owner = ip.interface === undefined ? undefined : result.interfaces?.[ip.interface]
    if (owner !== undefined && (owner.name !== request.ifname || owner.sandbox !== request.netns)) return []
    const prefix = parsePrefix(ip.address)
    return prefix === undefined ? [] : [{ prefix, gateway: ip.gateway }]
  })
}

function checkBridge(host: NetlinkSocket, config: BridgeConfig): Link {
  const bridge = findBridge(host, config.bridge)
  if (bridge === undefined) fail(`bridge "${config.bridge}" is gone`)
  if (!bridge.up) fail(`bridge "${bridge.name}" is down`, `"ip link set ${bridge.name} up" brings it back`)
  if (config.promiscMode && !bridge.promiscuous) fail(`bridge "${bridge.name}" is not in promiscuous mode`)
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
  return fail(`host interface "${name}" is gone`)
}

function checkPort(host: NetlinkSocket, port: Link, config: BridgeConfig, bridge: Link): void {
  const { name } = port
  if (port.kind !== 'veth') fail(`host interface "${name}" is of kind "${port.kind}", not "veth"`)
  if (port.master !== bridge.index) {
    fail(
      `"${name}" is not attached to bridge "${bridge.name}"`,
      `"ip link set ${name} master ${bridge.name}" attaches it`,
    )
  }
  if (!port.up) fail(`host interface "${name}" is down`, `"ip link set ${name} up" brings it back`)
  if ((port.bridgePort?.hairpin ?? false) !== config.hairpinMode)
    fail(`hairpin mode of "${name}" is not ${config.hairpinMode}`)
  if ((port.bridgePort?.isolated ?? false) !== config.portIsolation)
    fail(`isolation of "${name}" is not ${config.portIsolation}`)
  const [missing] = usesVlans(config) ? missingVlans(host, port, config) : []
  if (missing !== undefined) fail(`VLAN ${missing.id} is gone from port "${name}"`)
}

function checkSources(request: AttachmentRequest, port: Link, { mac }: Link): void {
  if (port.group !== CHECKED_PORTS_GROUP) {
    fail(
      `"${port.name}" is not in the link group of ports whose MAC addresses are checked`,
      `"ip link set ${port.name} group ${CHECKED_PORTS_GROUP}" puts it back`,
    )
  }
  if (mac !== undefined) checkSpoofCheck(request, { port: port.name, mac })
}

function checkInterface(
  container: NetlinkSocket,
  request: AttachmentRequest,
  config: BridgeConfig,
  result: Result,
): Link {
  const link = getLink(container, { name: request.ifname })
  if (link === undefined) fail(`interface "${request.ifname}" is gone from the container`)
  if (link.kind !== 'veth') fail(`interface "${request.ifname}" is of kind "${link.kind}", not "veth"`)
  if (link.up === config.disableContainerInterface) {
    fail(`interface "${request.ifname}" is ${link.up ? 'up' : 'down'}`, undefined)
  }
  const macText = formatMac(link.mac ?? new Uint8Array())
  const expected = result.interfaces?.find(one => one.name === request.ifname && one.sandbox === request.netns)
  if (expected === undefined) fail(`prevResult does not list interface "${request.ifname}" in "${request.netns}"`)
  if (expected.mac && expected.mac.toLowerCase() !== macText) {
    fail(`interface "${request.ifname}" has MAC ${macText}, prevResult says ${expected.mac}`)
  }
  return link
}

function checkAddresses(container: NetlinkSocket, link: Link, prefixes: readonly Prefix[]): void {
  const present = listAddresses(container, { index: link.index })
  for (const prefix of prefixes) {
    if (!present.some(address => samePrefix(address.prefix, prefix))) {
      fail(`address ${formatPrefix(prefix)} is gone from "${link.name}"`)
    }
  }
}

/**
 * Through whichever link: another attachment may have the same route already, and the result may name another's. In
 * whichever table where the result names none: sbr moves routes to tables of its own, and results before 1.1.0 cannot
 * name one.
 */
function checkRoutes(container: NetlinkSocket, ifname: string, routes: readonly Route[]): void {
  if (routes.length === 0) return
  const present = listRoutes(container)
  for (const route of routes) {
    const destination = parsePrefix(route.dst)
    const gateway = route.gw ? parseAddress(route.gw) : undefined
    if (destination === undefined) continue
    const found = present.some(
      one =>
        (route.table === undefined || one.table === route.table) &&
        samePrefix(one.destination, networkOf(destination)) &&
        (gateway === undefined || (one.gateway !== undefined && equalAddresses(one.gateway, gateway))),
    )
    if (!found)
      fail(
        `route to ${route.dst}${route.gw ? ` via ${route.gw}` : ''} is gone from the container, which had it through "${ifname}"`,
      )
  }
}

function checkVlanGateway(host: NetlinkSocket, config: VlanGatewayConfig, bridge: Link): Link {
  const name = config.vlanGateway
  const gateway = findVlanGateway(host, config, bridge)
  if (gateway === undefined) fail(`gateway "${name}" of VLAN ${config.vlan} is gone`)
  for (const link of [gateway.link, gateway.port]) {
    if (link?.up === false) fail(`"${link.name}" is down`, `"ip link set ${link.name} up" brings it back`)
  }
  if (gateway.port !== undefined && !isInVlan(host, config, gateway.port)) {
    fail(`VLAN ${config.vlan} is gone from port "${gateway.port.name}" of gateway "${name}"`)
  }
  return gateway.link
}

function checkGateway(host: NetlinkSocket, gateway: Link, own: readonly OwnAddress[]): void {
  const present = listAddresses(host, { index: gateway.index })
  for (const { prefix, gateway: text } of own) {
    const address = text === undefined ? undefined : parseAddress(text)
    if (address !== undefined && !present.some(one => samePrefix(one.prefix, { address, length: prefix.length }))) {
      fail(
        `"${gateway.name}" has lost the gateway address ${text}/${prefix.length}`,
        `"ip address add ${text}/${prefix.length} dev ${gateway.name}" brings it back`,
      )
    }
  }
  for (const name of forwardingSysctls(own.map(({ prefix }) => prefix))) {
    if (readSysctlIfExists(name) !== '1')
      fail(`forwarding is off: sysctl ${name} is not 1`, `"sysctl -w ${name}=1" turns it on`)
  }
}
