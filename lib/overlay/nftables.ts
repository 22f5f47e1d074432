/**
 * The overlay's part of the host's firewall:
 *
 *     table inet cnikit-overlay {
 *       set tunnels { typeof udp dport . @th,96,24                         one for each network on this host
 *         elements = { 4789 . 4097 comment "web" } }
 *       set peers-ipv4 { typeof udp dport . @th,96,24 . ip saddr           one for each other host of the network
 *         elements = { 4789 . 4097 . 192.0.2.2 comment "web" } }
 *       set peers-ipv6 { typeof udp dport . @th,96,24 . ip6 saddr }
 *       set gateway-bridges { type ifname
 *         elements = { "docker_gwbridge" } }
 *       chain tunnel-input {
 *         type filter hook input priority raw; policy accept;
 *         udp dport . @th,96,24 @tunnels udp dport . @th,96,24 . ip saddr != @peers-ipv4 counter drop
 *         udp dport . @th,96,24 @tunnels udp dport . @th,96,24 . ip6 saddr != @peers-ipv6 counter drop
 *       }
 *       chain gateway-forward {
 *         type filter hook forward priority filter; policy accept;
 *         iifname @gateway-bridges oifname @gateway-bridges ct status != dnat drop
 *       }
 *     }
 *
 * @th,96,24 is the VNI, behind the UDP header. The kernel's VXLAN socket listens on all addresses and takes packets from
 * everybody; here those that are not from a peer of the very network end before they are decapsulated. In the input hook
 * and not in prerouting: there fragments are not yet put together, and all but the first have no VNI to be seen; and a
 * host may route the tunnels of others. The number of rules does not depend on the number of networks.
 *
 * Ports of the gateway bridge are isolated from one another, but the host would route between them.
 */

import type { IpAddress } from '../address/address.ts'
import { shortened } from '../firewall/attachment.ts'
import type { Creation } from '../firewall/nftables/transaction.ts'
import type { Request } from '../netlink/message.ts'
import { type ChainName, createChain, Priority } from '../netlink/netfilter/chain.ts'
import { REGISTER_1, REGISTER_32_0 } from '../netlink/netfilter/data.ts'
import {
  address,
  counter,
  type IpFamilyName,
  inSet,
  meta,
  notInSet,
  ofFamily,
  ofProtocol,
  transportBytes,
  verdict,
  withoutStatus,
} from '../netlink/netfilter/expressions.ts'
import { createRule } from '../netlink/netfilter/rule.ts'
import { createSet, type SetName } from '../netlink/netfilter/set.ts'
import { createTable, type TableName } from '../netlink/netfilter/table.ts'
import { COMMENT_MAX_BYTES } from '../netlink/netfilter/userdata.ts'
import { allocate, encodeText } from '../sys/bytes.ts'

export const overlayTable: TableName = { family: 'inet', table: 'cnikit-overlay' }
export const tunnelChain: ChainName = { ...overlayTable, chain: 'tunnel-input' }
const gatewayChain: ChainName = { ...overlayTable, chain: 'gateway-forward' }
export const tunnelSet: SetName = { ...overlayTable, set: 'tunnels' }
export const gatewayBridgeSet: SetName = { ...overlayTable, set: 'gateway-bridges' }
export const peerSets = {
  ip: { ...overlayTable, set: 'peers-ipv4' },
  ip6: { ...overlayTable, set: 'peers-ipv6' },
} as const satisfies Readonly<Record<IpFamilyName, SetName>>

/** For errors. */
export const creation: Creation = {
  what: 'peer filter with nftables',
  table: overlayTable,
  needs: 'The kernel needs nftables with the inet family, and connection tracking for the gateway bridge.',
}

/** Bytes from the beginning of the UDP header. */
const DESTINATION_PORT = 2
const VNI = 12
/** In bits, as nft writes it. */
const vniField = { offset: VNI * 8, length: 24 } as const

/** The key of a tunnel, each part in words of 4 bytes, or of a peer of it. */
export function tunnelKey(port: number, vni: number, peer?: IpAddress): Uint8Array {
  const key = allocate(8 + (peer?.length ?? 0))
  const view = new DataView(key.buffer)
  view.setUint16(0, port)
  view.setUint32(4, vni << 8)
  if (peer !== undefined) key.set(peer, 8)
  return key
}

/** IFNAMSIZ, linux/if.h. */
const INTERFACE_NAME_BYTES = 16

/** The key of a gateway bridge. */
export function bridgeKey(name: string): Uint8Array {
  const key = allocate(INTERFACE_NAME_BYTES)
  key.set(encodeText(name).subarray(0, INTERFACE_NAME_BYTES - 1))
  return key
}

/** The comment that says which network's element it is. */
export function networkComment(network: string): string {
  return shortened(network, COMMENT_MAX_BYTES - 1, '~')
}

/** Port and VNI into the registers from the first on. */
const loadTunnel = () => [
  transportBytes(DESTINATION_PORT, 2, REGISTER_1),
  transportBytes(VNI, vniField.length / 8, REGISTER_32_0 + 1),
]

function dropStrangers(family: IpFamilyName): Request {
  return createRule(tunnelChain, [
    ...ofFamily(family),
    ...ofProtocol('udp'),
    ...loadTunnel(),
    inSet(tunnelSet.set),
    ...loadTunnel(),
    address(family, 'saddr', REGISTER_32_0 + 2),
    notInSet(peerSets[family].set),
    counter(),
    verdict('drop'),
  ])
}

/** Everything but the elements; none of it must exist. */
export function createOverlayTable(): Request[] {
  const exclusive = { exclusive: true }
  return [
    createTable(overlayTable, exclusive),
    createSet(tunnelSet, { key: ['inet_service', 'integer24'], keyFields: ['udp dport', vniField] }, exclusive),
    createSet(
      peerSets.ip,
      { key: ['inet_service', 'integer24', 'ipv4_addr'], keyFields: ['udp dport', vniField, 'ip saddr'] },
      exclusive,
    ),
    createSet(
      peerSets.ip6,
      { key: ['inet_service', 'integer24', 'ipv6_addr'], keyFields: ['udp dport', vniField, 'ip6 saddr'] },
      exclusive,
    ),
    createSet(gatewayBridgeSet, { key: ['ifname'] }, exclusive),
    createChain(tunnelChain, { type: 'filter', hook: 'input', priority: Priority.raw }, exclusive),
    dropStrangers('ip'),
    dropStrangers('ip6'),
    createChain(gatewayChain, { type: 'filter', hook: 'forward', priority: Priority.filter }, exclusive),
    createRule(gatewayChain, [
      meta('iifname'),
      inSet(gatewayBridgeSet.set),
      meta('oifname'),
      inSet(gatewayBridgeSet.set),
      ...withoutStatus('dnat'),
      verdict('drop'),
    ]),
  ]
}
