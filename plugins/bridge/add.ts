/** ADD: a veth pair between the container and the bridge, addresses, routes, masquerade. */

import { formatMac } from '../../lib/address/mac.ts'
import type { Prefix } from '../../lib/address/prefix.ts'
import { delegateAdd, delegateDel } from '../../lib/cni/delegate.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { runTransaction, type Transaction } from '../../lib/cni/transaction.ts'
import type { AttachmentRequest, Interface, Result } from '../../lib/cni/types.ts'
import { addMasquerade, deleteMasquerade, type MasqueradeBackend } from '../../lib/firewall/masquerade.ts'
import { addSpoofCheck, deleteSpoofCheck } from '../../lib/firewall/spoof-check.ts'
import { type Link, setLink } from '../../lib/netlink/route/link/index.ts'
import { type Addressing, deriveAddressing } from './addressing.ts'
import { SharedBridge } from './bridge-link.ts'
import { type BridgeConfig, parseBridgeConfig } from './config.ts'
import { configureInterface, mustGetLink, refuseExistingInterface } from './container.ts'
import { type AddressPlan, enableForwarding, planGatewayAddresses } from './gateway.ts'
import { createVethPair, type VethPair, waitForPort } from './port.ts'
import { setPortVlans, usesVlans } from './port-vlan.ts'
import { type Sockets, withSockets } from './sockets.ts'
import { hasVlanGateway, SharedVlanGateway } from './vlan-gateway.ts'

export function add(request: AttachmentRequest): Result {
  const config = parseBridgeConfig(request)
  refuseWithoutAddresses(request, config)
  return withSockets(request.netns, sockets => {
    refuseExistingInterface(sockets.container, request.ifname, request.netns)
    return runTransaction(request.environment, transaction => build(transaction, request, config, sockets))
  })
}

/** Results of 0.1.0 and 0.2.0 cannot say "no address"; better now than after the work is done. */
function refuseWithoutAddresses(request: AttachmentRequest, config: BridgeConfig): void {
  if (config.ipamType !== undefined || (request.cniVersion !== '0.1.0' && request.cniVersion !== '0.2.0')) return
  throw new CniError(
    ErrorCode.incompatibleVersion,
    'cannot convert: no valid IP addresses',
    `cniVersion is "${request.cniVersion}" and there is no "ipam": use cniVersion 0.3.0 or newer`,
  )
}

/** What the address plugin gave, and what follows from it. */
interface Addressed {
  readonly ipam: Result
  readonly addressing: Addressing
  readonly plan: AddressPlan
}

function build(transaction: Transaction, request: AttachmentRequest, config: BridgeConfig, sockets: Sockets): Result {
  const { host, container, namespace } = sockets
  const shared = new SharedBridge(host, config)
  const bridge = shared.use(transaction)
  const sharedGateway = hasVlanGateway(config) ? new SharedVlanGateway(host, config, shared) : undefined
  const vlanGateway = sharedGateway?.use(transaction, bridge)
  const gateway = vlanGateway ?? bridge

  const { ipamType } = config
  const address = (type: string): Addressed => {
    const ipam = allocate(transaction, request, type)
    const addressing = deriveAddressing(config, ipam)
    const plan = planGatewayAddresses(host, gateway, addressing.bridgeAddresses, config.forceAddress)
    return { ipam, addressing, plan }
  }
  // An address plugin of this executable only keeps accounts: asked first, an exhausted pool costs no link. Any other
  // may want to find the interface, as dhcp does.
  let addressed = ipamType !== undefined && request.builtins.has(ipamType) ? address(ipamType) : undefined

  const pair = createVethPair(transaction, host, request, config, { bridge, namespace: namespace.fd })
  if (usesVlans(config)) setPortVlans(transaction, host, mustGetLink(host, pair.hostName), config)
  shared.release()
  if (config.macSpoofCheck) checkSources(transaction, request, pair)
  if (ipamType !== undefined) addressed ??= address(ipamType)

  if (addressed !== undefined) {
    const { addressing, plan } = addressed
    transaction.step(`configure "${request.ifname}"`, () =>
      configureInterface(container, namespace, request.ifname, addressing, config.duplicateAddressDetection),
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
  return composeResult(request, config, { bridge, port, pair, vlanGateway }, addressed)
}

function allocate(transaction: Transaction, request: AttachmentRequest, type: string): Result {
  return transaction.step(
    `allocate addresses with "${type}"`,
    () => delegateAdd(request, type),
    () => delegateDel(request, type),
  )
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

function composeResult(
  request: AttachmentRequest,
  config: BridgeConfig,
  links: { bridge: Link; port: Link; pair: VethPair; vlanGateway: Link | undefined },
  addressed: Addressed | undefined,
): Result {
  const { bridge, port, pair, vlanGateway } = links
  const describe = (name: string, mac: Uint8Array | undefined, mtu: number): Interface => ({
    name,
    ...(mac === undefined ? {} : { mac: formatMac(mac) }),
    mtu,
  })
  const dns = config.dns ?? addressed?.ipam.dns
  return {
    interfaces: [
      describe(bridge.name, bridge.mac, bridge.mtu),
      describe(port.name, port.mac, port.mtu),
      { ...describe(request.ifname, pair.containerMac, port.mtu), sandbox: request.netns },
      ...(vlanGateway === undefined ? [] : [describe(vlanGateway.name, vlanGateway.mac, vlanGateway.mtu)]),
    ],
    ...(addressed === undefined
      ? {}
      : {
          ips: addressed.addressing.ips.map(ip => ({ ...ip, interface: CONTAINER_INTERFACE })),
          routes: [...addressed.addressing.resultRoutes],
        }),
    ...(dns === undefined ? {} : { dns }),
  }
}

/** Where the container's interface stands in the result: after the bridge and the host's end of the veth. */
const CONTAINER_INTERFACE = 2
