/** ADD: the network on this host, a veth pair between the container and it, addresses, and the way out. */

import { formatAddress } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import { formatPrefix, prefixesOverlap } from '../../lib/address/prefix.ts'
import { type Addressing, deriveAddressing } from '../../lib/attachment/addressing.ts'
import { configureInterface, refuseExistingInterface } from '../../lib/attachment/interface.ts'
import { allocateAddresses } from '../../lib/attachment/ipam.ts'
import { type Addressed, composeResult, describeInterface } from '../../lib/attachment/result.ts'
import { type Sockets, withSockets } from '../../lib/attachment/sockets.ts'
import { createVethPair, type VethPair, waitForPort } from '../../lib/attachment/veth-port.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { hostVethName, linkAlias } from '../../lib/cni/names.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Result } from '../../lib/cni/types.ts'
import { listAddresses } from '../../lib/netlink/route/addr/index.ts'
import { setLink } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { callAgent, withdrawAttachment } from '../../lib/overlay/agent-client.ts'
import { type OverlaySettings, type ReadyOverlay, SharedOverlay } from '../../lib/overlay/network.ts'
import { type OverlayConfig, parseOverlayConfig } from './config.ts'
import { settingsOfAgent, settingsWithoutAgent } from './settings.ts'
import { makeWayOut, type WayOut } from './way-out.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseOverlayConfig(request)
  // Closed when nothing is left to be undone.
  const used: SharedOverlay[] = []
  try {
    return withSockets(request.netns, sockets => {
      refuseExistingInterface(sockets.container, request.ifname, request.netns)
      return runTransaction(request.environment, transaction =>
        build(transaction, request, config, { ...sockets, used }),
      )
    })
  } finally {
    for (const shared of used) shared.close()
  }
}

interface Workplace extends Sockets {
  /** Takes note of the network that is used. */
  readonly used: SharedOverlay[]
}

function build(
  transaction: Transaction,
  request: AttachmentRequest,
  config: OverlayConfig,
  sockets: Workplace,
): Result {
  const { host, container, namespace } = sockets
  const settings = settingsOf(transaction, request, config)
  const address = (): Addressed => {
    const ipam = withoutIdleGateways(allocateAddresses(transaction, request, config.ipamType))
    const addressing = deriveAddressing(ipam)
    refuseOverlap(container, addressing)
    return { ipam, addressing }
  }
  // An address plugin of this executable only keeps accounts: asked first, an exhausted pool costs no link.
  const early = request.builtins.has(config.ipamType) ? address() : undefined
  const shared = new SharedOverlay(host, settings)
  sockets.used.push(shared)
  const ready = shared.use(transaction)
  if (early !== undefined) refuseNarrow(ready, early.addressing)
  const pair = createPort(transaction, request, config, sockets, ready)
  shared.release()
  const addressed = early ?? address()
  refuseNarrow(ready, addressed.addressing)
  transaction.step(`configure "${request.ifname}"`, () =>
    configureInterface(container, namespace, request.ifname, addressed.addressing, {
      duplicateAddressDetection: false,
      announceIpv6: true,
    }),
  )
  const wayOut = config.internal
    ? undefined
    : makeWayOut(transaction, request, config.gatewayBridge, sockets, addressed.addressing)
  const port = waitForPort(ready.overlay.socket, pair.hostName)
  // What the kernel announced when the link came up may have met a port that did not pass it yet. With arp_notify it does so
  // again whenever an address is set, also to what it is (NETDEV_CHANGEADDR, net/ipv4/devinet.c).
  setLink(container, { name: request.ifname, mac: pair.containerMac })
  publish(transaction, request, config, pair, { own: addressed.addressing, wayOut: wayOut?.addressing })
  const own = describeInterface({ name: request.ifname, mac: pair.containerMac, mtu: port.mtu }, request.netns)
  return resultOf(composeResult([own], 0, addressed, config.dns), wayOut)
}

/** The network's settings; with an agent, those that it has for the whole cluster. */
function settingsOf(transaction: Transaction, request: AttachmentRequest, config: OverlayConfig): OverlaySettings {
  const { controlPlane, mtu } = config
  const { network, containerId, ifname } = request
  if (controlPlane.type !== 'etcd') return settingsWithoutAgent(network, controlPlane, mtu)
  const { socket, vni, port } = controlPlane
  const answer = transaction.step(
    `join network "${network}"`,
    () =>
      callAgent(socket, 'join', {
        network,
        containerId,
        ifname,
        mtu,
        ...(vni === undefined ? {} : { vni }),
        ...(port === undefined ? {} : { port }),
      }),
    () => withdrawAttachment(socket, { network, containerId, ifname }),
  )
  return settingsOfAgent(network, config, answer)
}

/** Tells all hosts where the container is. What withdraws it is the undoing of the join. */
function publish(
  transaction: Transaction,
  { network, containerId, ifname }: AttachmentRequest,
  { controlPlane, services, explicitAddresses }: OverlayConfig,
  { containerMac }: VethPair,
  { own, wayOut }: { own: Addressing; wayOut: Addressing | undefined },
): void {
  if (controlPlane.type !== 'etcd') return
  const { socket } = controlPlane
  transaction.step(`publish "${ifname}" in network "${network}"`, () =>
    callAgent(socket, 'publish', {
      network,
      containerId,
      ifname,
      mac: formatMac(containerMac),
      addresses: own.addresses.map(formatPrefix),
      ...(explicitAddresses ? { explicit: true } : {}),
      ...(services.length > 0 ? { services } : {}),
      ...(services.length > 0 && wayOut !== undefined
        ? { gatewayAddresses: wayOut.addresses.map(({ address }) => formatAddress(address)) }
        : {}),
    }),
  )
}

function createPort(
  transaction: Transaction,
  { network, containerId, ifname }: AttachmentRequest,
  { mac }: OverlayConfig,
  { namespace }: Sockets,
  { overlay, bridge, mtu }: ReadyOverlay,
): VethPair {
  return createVethPair(transaction, overlay.socket, {
    name: hostVethName(network, containerId, ifname),
    alias: linkAlias(network, containerId, ifname),
    bridge: bridge.index,
    mtu,
    container: { name: ifname, namespace: namespace.fd, mac },
  })
}

/**
 * The gateways that address plugins give are nobody's addresses here: the way out is another interface. One is kept
 * where the configuration has routes through it.
 */
function withoutIdleGateways(ipam: Result): Result {
  const routed = (ipv6: boolean) => (ipam.routes ?? []).some(({ dst, gw }) => dst.includes(':') === ipv6 && !gw)
  return {
    ...ipam,
    ips: (ipam.ips ?? []).map(ip => {
      const { gateway, ...rest } = ip
      return gateway === undefined || routed(ip.address.includes(':')) ? ip : rest
    }),
  }
}

/** Two networks with the same addresses can be on one host, but not in one container. @throws CniError code 104 */
function refuseOverlap(container: NetlinkSocket, { addresses }: Addressing): void {
  for (const { prefix } of listAddresses(container)) {
    const other = addresses.find(one => prefixesOverlap(one, prefix))
    if (other === undefined) continue
    throw new CniError(
      ErrorCode.conflict,
      `the container already has the address ${formatPrefix(prefix)}, in a subnet that overlaps with that of ${formatPrefix(other)}`,
      'a container can be in one of two networks with the same addresses: give one of them other subnets',
    )
  }
}

/** IPV6_MIN_MTU, RFC 8200. */
const IPV6_MIN_MTU = 1280

/** @throws CniError code 7 */
function refuseNarrow({ mtu }: ReadyOverlay, { addresses }: Addressing): void {
  if (mtu >= IPV6_MIN_MTU || !addresses.some(({ address }) => address.length === 16)) return
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `the network has IPv6 addresses, but its MTU is ${mtu}`,
    `IPv6 needs ${IPV6_MIN_MTU} bytes: raise "mtu" or that of the underlay, or remove the IPv6 ranges`,
  )
}

/** The container's own interface first: runtimes take the first address for the container's. */
function resultOf(result: Result, wayOut: WayOut | undefined): Result {
  if (wayOut === undefined) return result
  const { addressing, interfaces } = wayOut
  const own = result.interfaces ?? []
  return {
    ...result,
    interfaces: [...own, ...interfaces],
    ips: [...(result.ips ?? []), ...addressing.ips.map(ip => ({ ...ip, interface: own.length }))],
    routes: [...(result.routes ?? []), ...addressing.resultRoutes],
  }
}
