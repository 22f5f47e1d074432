/** The container's way out: an interface on the gateway bridge, with the default routes and masquerade. */

import { allocateGatewayAddresses, releaseGatewayAddresses } from '../../ipam/gateway-pool.ts'
import { type Family, familyOf } from '../../lib/address/address.ts'
import { type Addressing, deriveAddressing } from '../../lib/attachment/addressing.ts'
import { enableForwarding } from '../../lib/attachment/gateway.ts'
import { configureInterface } from '../../lib/attachment/interface.ts'
import { describeInterface } from '../../lib/attachment/result.ts'
import type { Sockets } from '../../lib/attachment/sockets.ts'
import { createVethPair, waitForPort } from '../../lib/attachment/veth-port.ts'
import { hostVethName, linkAlias } from '../../lib/cni/names.ts'
import type { Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentId, AttachmentRequest, Interface } from '../../lib/cni/types.ts'
import type { Attachment } from '../../lib/firewall/attachment.ts'
import { addMasquerade, deleteMasquerade } from '../../lib/firewall/masquerade.ts'
import { listLinks } from '../../lib/netlink/route/link/index.ts'
import { listRoutes } from '../../lib/netlink/route/route/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import { GatewayBridge, type GatewayBridgeConfig } from '../../lib/overlay/gateway-bridge.ts'

/** The host's end of the container's link to the gateway bridge; apart from the name of its port in the overlay. */
export function gatewayPortName(bridge: string, { containerId, ifname }: AttachmentId): string {
  return hostVethName(bridge, containerId, ifname)
}

/** By which the firewall knows what the attachment has on the gateway bridge. */
export function masqueradedAttachment(bridge: string, { containerId, ifname }: AttachmentId): Attachment {
  return { network: bridge, containerId, ifname }
}

/** The second interface of the container. */
export interface WayOut {
  readonly addressing: Addressing
  /** The container's interface, the bridge, the host's end of the link. */
  readonly interfaces: readonly Interface[]
}

/**
 * Gives the container an interface on the gateway bridge, for every family of its addresses in which it has no default
 * route yet: of several overlay networks the first that it is attached to leads out.
 * @returns undefined when it needs none
 */
export function makeWayOut(
  transaction: Transaction,
  request: AttachmentRequest,
  config: GatewayBridgeConfig,
  { host, container, namespace }: Sockets,
  own: Addressing,
): WayOut | undefined {
  const families = familiesWithoutRoute(container, own)
  if (families.length === 0) return undefined
  const { name } = config
  const { network, containerId, ifname } = request
  const shared = new GatewayBridge(host, config)
  const { bridge, gateways } = shared.use(transaction, families, own.addresses)
  const ipam = transaction.step(
    `allocate addresses on "${name}"`,
    () => allocateGatewayAddresses(name, gateways, request),
    () => releaseGatewayAddresses(name, request),
  )
  const addressing = deriveAddressing(ipam, { isDefaultGateway: true })
  const interfaceName = freeName(container, ifname)
  const pair = createVethPair(transaction, host, {
    name: gatewayPortName(name, request),
    // By the overlay network's GC it is to be found.
    alias: linkAlias(network, containerId, ifname),
    bridge: bridge.index,
    mtu: bridge.mtu,
    settings: { isolated: true },
    container: { name: interfaceName, namespace: namespace.fd },
  })
  shared.release()
  transaction.step(`configure "${interfaceName}"`, () =>
    configureInterface(container, namespace, interfaceName, addressing, { duplicateAddressDetection: false }),
  )
  enableForwarding(transaction, addressing.addresses)
  const masqueraded = masqueradedAttachment(name, request)
  transaction.step(
    'masquerade with nftables',
    () => addMasquerade('nftables', masqueraded, addressing.addresses),
    () => deleteMasquerade(masqueraded, { addresses: addressing.addresses }).close(),
  )
  const port = waitForPort(host, pair.hostName)
  return {
    addressing,
    interfaces: [
      describeInterface({ name: interfaceName, mac: pair.containerMac, mtu: port.mtu }, request.netns),
      describeInterface(bridge),
      describeInterface(port),
    ],
  }
}

/** RT_TABLE_MAIN, linux/rtnetlink.h. */
const MAIN_TABLE = 254

function familiesWithoutRoute(container: NetlinkSocket, { addresses, routes }: Addressing): Family[] {
  const families = new Set(addresses.map(({ address }) => familyOf(address)))
  for (const { destination } of routes) if (destination.length === 0) families.delete(familyOf(destination.address))
  return [...families].filter(
    family => !listRoutes(container, { family, table: MAIN_TABLE }).some(({ destination }) => destination.length === 0),
  )
}

/** The first of eth1, eth2, ... that the container does not have, and will not have. */
function freeName(container: NetlinkSocket, ifname: string): string {
  const taken = new Set([ifname, ...listLinks(container).map(({ name }) => name)])
  for (let number = 1; ; number++) if (!taken.has(`eth${number}`)) return `eth${number}`
}
