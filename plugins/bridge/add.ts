/** ADD: a veth pair between the container and the bridge, addresses, routes, masquerade. */

import { formatMac } from '../../lib/address/mac.ts'
import { isPrefix, type Prefix } from '../../lib/address/prefix.ts'
import { deriveAddressing } from '../../lib/attachment/addressing.ts'
import { type AddressPlan, enableForwarding, planGatewayAddresses } from '../../lib/attachment/gateway.ts'
import { configureInterface, mustGetLink, refuseExistingInterface } from '../../lib/attachment/interface.ts'
import { addressAndLink, allocateAddresses } from '../../lib/attachment/ipam.ts'
import {
  type Addressed,
  composeResult,
  describeInterface,
  refuseWithoutAddresses,
} from '../../lib/attachment/result.ts'
import { SharedBridge } from '../../lib/attachment/shared-bridge.ts'
import { type Sockets, withSockets } from '../../lib/attachment/sockets.ts'
import { createVethPair, type VethPair, waitForPort } from '../../lib/attachment/veth-port.ts'
import { hostVethName, linkAlias } from '../../lib/cni/names.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Interface, Result } from '../../lib/cni/types.ts'
import { addMasquerade, deleteMasquerade, type MasqueradeBackend } from '../../lib/firewall/masquerade.ts'
import { addSpoofCheck, CHECKED_PORTS_GROUP, deleteSpoofCheck } from '../../lib/firewall/spoof-check.ts'
import { type Link, setLink } from '../../lib/netlink/route/link/index.ts'
import { type BridgeConfig, parseBridgeConfig } from './config.ts'
import { setPortVlans, usesVlans } from './port-vlan.ts'
import { hasVlanGateway, SharedVlanGateway } from './vlan-gateway.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseBridgeConfig(request)
  refuseWithoutAddresses(request, config.ipamType)
  return withSockets(request.netns, sockets => {
    refuseExistingInterface(sockets.container, request.ifname, request.netns)
    return runTransaction(request.environment, transaction => build(transaction, request, config, sockets))
  })
}

/** With the addresses that the gateway is to get. */
interface AddressedBridge extends Addressed {
  readonly plan: AddressPlan
}

function build(transaction: Transaction, request: AttachmentRequest, config: BridgeConfig, sockets: Sockets): Result {
  const { host, container, namespace } = sockets
  const shared = new SharedBridge(host, { ...config, vlanFiltering: usesVlans(config) })
  const bridge = shared.use(transaction)
  const sharedGateway = hasVlanGateway(config) ? new SharedVlanGateway(host, config, shared) : undefined
  const vlanGateway = sharedGateway?.use(transaction, bridge)
  const gateway = vlanGateway ?? bridge

  const address = (type: string): AddressedBridge => {
    const ipam = allocateAddresses(transaction, request, type)
    const addressing = deriveAddressing(ipam, config)
    const own = config.isGateway ? addressing.gateways.filter(isPrefix) : []
    const plan = planGatewayAddresses(host, gateway, own, config.forceAddress)
    return { ipam, addressing, plan }
  }
  const { addressed, link: pair } = addressAndLink(request, config.ipamType, address, () => {
    const made = createPort(transaction, request, config, sockets, bridge)
    if (usesVlans(config)) setPortVlans(transaction, host, mustGetLink(host, made.hostName), config)
    shared.release()
    if (config.macSpoofCheck) checkSources(transaction, request, made)
    return made
  })

  if (addressed !== undefined) {
    const { addressing, plan } = addressed
    transaction.step(`configure "${request.ifname}"`, () =>
      configureInterface(container, namespace, request.ifname, addressing, config),
    )
    if (plan.missing.length + plan.conflicting.length > 0) {
      transaction.step(`give "${gateway.name}" its addresses`, () =>
        (sharedGateway ?? shared).changeAddresses(gateway, plan),
      )
    }
    if (config.isGateway) enableForwarding(transaction, addressing.addresses)
    if (config.masquerade !== undefined) masquerade(transaction, request, config.masquerade, addressing.addresses)
  } else if (!config.disableContainerInterface) {
    transaction.step(`bring up "${request.ifname}"`, () => setLink(container, { name: request.ifname, up: true }))
  }
  const port = config.disableContainerInterface ? mustGetLink(host, pair.hostName) : waitForPort(host, pair.hostName)
  sharedGateway?.waitUntilReady()
  const interfaces = describeInterfaces(request, { bridge, port, pair, vlanGateway })
  return composeResult(interfaces, CONTAINER_INTERFACE, addressed, config.dns)
}

/** The veth pair of the attachment. */
function createPort(
  transaction: Transaction,
  request: AttachmentRequest,
  config: BridgeConfig,
  { host, namespace }: Sockets,
  bridge: Link,
): VethPair {
  const { network, containerId, ifname } = request
  const { hairpinMode: hairpin, portIsolation: isolated } = config
  return createVethPair(transaction, host, {
    name: hostVethName(network, containerId, ifname),
    alias: linkAlias(network, containerId, ifname),
    bridge: bridge.index,
    mtu: config.mtu,
    container: { name: ifname, namespace: namespace.fd, mac: config.mac },
    ...(hairpin || isolated ? { settings: { hairpin, isolated } } : {}),
    ...(config.macSpoofCheck ? { group: CHECKED_PORTS_GROUP } : {}),
  })
}

function checkSources(transaction: Transaction, request: AttachmentRequest, pair: VethPair): void {
  const source = { port: pair.hostName, mac: pair.containerMac }
  transaction.step(
    `allow no source but ${formatMac(source.mac)} on "${source.port}"`,
    () => {
      // The killed ADD may have allowed another address.
      if (pair.replaced) deleteSpoofCheck(request).close()
      addSpoofCheck(request, source)
    },
    () => deleteSpoofCheck(request, source).close(),
  )
}

function masquerade(
  transaction: Transaction,
  request: AttachmentRequest,
  backend: MasqueradeBackend,
  addresses: readonly Prefix[],
): void {
  transaction.step(
    `masquerade with ${backend}`,
    () => addMasquerade(backend, request, addresses, { environment: request.environment }),
    () => deleteMasquerade(request, { addresses, environment: request.environment }).close(),
  )
}

/** The bridge, the host's end of the veth and the container's, and the gateway of a VLAN. */
function describeInterfaces(
  request: AttachmentRequest,
  links: { bridge: Link; port: Link; pair: VethPair; vlanGateway: Link | undefined },
): Interface[] {
  const { bridge, port, pair, vlanGateway } = links
  return [
    describeInterface(bridge),
    describeInterface(port),
    describeInterface({ name: request.ifname, mac: pair.containerMac, mtu: port.mtu }, request.netns),
    ...(vlanGateway === undefined ? [] : [describeInterface(vlanGateway)]),
  ]
}

/** Where the container's interface stands among them. */
const CONTAINER_INTERFACE = 2
