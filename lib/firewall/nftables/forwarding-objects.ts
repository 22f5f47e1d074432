/**
 * Where the state of forwarding is, and how it is named:
 *
 *     table inet cnikit-firewall {
 *       set accepted/podnet/ip {                             one for each network and family
 *         type ipv4_addr
 *         elements = { 10.1.0.5 comment "3f0e... eth0" }       one for each address of an attachment
 *       }
 *       set ingress/podnet {                                 what the network wants; no rule looks here
 *         type ifname
 *         elements = { "cni0" comment "same-bridge" }
 *       }
 *       set ingress-interfaces { type ifname; elements = { "cni0" } }
 *       set ingress-within { type ifname . ifname; elements = { "cni0" . "cni0" } }
 *       chain admin { }                                      the operator's
 *       chain ingress-policy {
 *         iifname . oifname @ingress-within return
 *         iifname @ingress-interfaces oifname @ingress-interfaces drop
 *       }
 *       chain forward {
 *         type filter hook forward priority filter; policy accept;
 *         jump admin
 *         jump ingress-policy
 *         ip saddr @accepted/podnet/ip accept
 *         ip daddr @accepted/podnet/ip ct state established,related accept
 *       }
 *     }
 *
 * A table of its own, as the operator writes into it. A set for each network, and not one for all, as with masquerade:
 * two networks may have the same addresses. The interfaces of all networks are in two sets, so that one rule tells any
 * two of them apart, whatever their number; both are computed from what the networks want (forwarding-ingress.ts).
 */

import type { IpAddress } from '../../address/address.ts'
import type { ChainName } from '../../netlink/netfilter/chain.ts'
import type { SetElement } from '../../netlink/netfilter/element.ts'
import type { IpFamilyName } from '../../netlink/netfilter/expressions.ts'
import type { SetName } from '../../netlink/netfilter/set.ts'
import type { TableName } from '../../netlink/netfilter/table.ts'
import { allocate, encodeText } from '../../sys/bytes.ts'
import type { Attachment } from '../attachment.ts'
import type { Ingress } from '../forwarding-intent.ts'
import type { Claim } from './claims.ts'
import { ipFamily, networkInName, ownerComment } from './layout.ts'
import type { Creation } from './transaction.ts'

export const firewallTable: TableName = { family: 'inet', table: 'cnikit-firewall' }
export const forwardChain: ChainName = { ...firewallTable, chain: 'forward' }
export const adminChain: ChainName = { ...firewallTable, chain: 'admin' }
export const ingressChain: ChainName = { ...firewallTable, chain: 'ingress-policy' }

/** Interfaces that a policy is about, of all networks. */
export const ingressInterfaces: SetName = { ...firewallTable, set: 'ingress-interfaces' }
/** Those of them between whose containers the host may forward, each paired with itself. */
export const ingressWithin: SetName = { ...firewallTable, set: 'ingress-within' }

export const forwardingCreation: Creation = {
  what: 'firewall with nftables',
  table: firewallTable,
  needs: 'The kernel needs nftables in the inet family. Without it set "backend": "iptables".',
}

/** IFNAMSIZ, linux/if.h. */
const INTERFACE_NAME_BYTES = 16

/** What the names of all sets of accepted addresses, and of all sets of what networks want, begin with. */
export const ACCEPTED_SETS = 'accepted/'
export const INGRESS_SETS = 'ingress/'

/** What the names of a network's sets of addresses begin with. */
export const acceptedSetPrefix = (network: string): string => `${ACCEPTED_SETS}${networkInName(network)}`

const acceptedSet = (network: string, family: IpFamilyName): SetName => ({
  ...firewallTable,
  set: `${acceptedSetPrefix(network)}${family}`,
})

/** The set of what the network wants. */
export const ingressSet = (network: string): SetName => ({
  ...firewallTable,
  set: `${INGRESS_SETS}${networkInName(network).slice(0, -1)}`,
})

/** The element of each address. */
export function acceptedClaims(attachment: Attachment, addresses: readonly IpAddress[]): Claim[] {
  const comment = ownerComment(attachment)
  return addresses.map(key => ({
    set: acceptedSet(attachment.network, ipFamily(key)),
    element: { key, comment },
  }))
}

/** The key of an interface, padded. */
export function interfaceKey(name: string): Uint8Array {
  const key = allocate(INTERFACE_NAME_BYTES)
  key.set(encodeText(name).subarray(0, INTERFACE_NAME_BYTES - 1))
  return key
}

/** The key of an interface paired with itself. */
export function withinKey(name: Uint8Array): Uint8Array {
  const key = allocate(2 * INTERFACE_NAME_BYTES)
  key.set(name)
  key.set(name, INTERFACE_NAME_BYTES)
  return key
}

/** What a network wants of an interface; undefined for an element that is not ours. */
export function policyOf({ comment }: SetElement): Ingress['policy'] | undefined {
  return comment === 'same-bridge' || comment === 'isolated' ? comment : undefined
}
