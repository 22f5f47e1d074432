/** Names derived from the attachment, so that DEL, CHECK and GC find what ADD made without remembering anything. */

import { sha512 } from '../sys/host.ts'
import type { AttachmentId } from './types.ts'

/** As the Go plugins, so that users and tools recognise it. */
const HOST_VETH_PREFIX = 'veth'
const HOST_ACCESS_PREFIX = 'shim'
/** With either prefix IFNAMSIZ - 1 bytes, linux/if.h. */
const HOST_VETH_DIGITS = 11

/**
 * A hexadecimal SHA-512 over the attachment. The parts are checked names or ids, none of which can hold a "/", so no
 * two attachments are hashed as the same text.
 */
export function attachmentDigest(network: string, containerId: string, ifname: string): string {
  return sha512(`${network}/${containerId}/${ifname}`)
}

/** IFALIASZ, linux/if.h, less the final NUL. */
const ALIAS_LENGTH = 255

/** What a link of ours carries as its alias: GC finds a network's links by it, and `ip link` shows it to people. */
export function linkAlias(network: string, containerId: string, ifname: string): string {
  return `${linkAliasPrefix(network)}${containerId} ${ifname}`.slice(0, ALIAS_LENGTH)
}

/** The attachment that an alias names; undefined for an alias that is not ours. */
export function readLinkAlias(alias: string): (AttachmentId & { readonly network: string }) | undefined {
  const [owner, network, containerId, ifname, ...more] = alias.split(' ')
  if (owner !== 'cnikit' || network === undefined || containerId === undefined || ifname === undefined) return undefined
  return more.length === 0 ? { network, containerId, ifname } : undefined
}

/** How the aliases of all the network's links begin. */
export function linkAliasPrefix(network: string): string {
  return `cnikit ${network} `.slice(0, ALIAS_LENGTH)
}

/** The name of the port behind which a VLAN's gateway is: of another text than any attachment's, which has a "/". */
export function vlanGatewayPortName(bridge: string, vlan: number): string {
  return HOST_VETH_PREFIX + sha512(`${bridge}.${vlan}`).slice(0, HOST_VETH_DIGITS)
}

/** The name of the link by which the host reaches a macvlan network: of another text than any attachment's. */
export function hostAccessName(network: string): string {
  return HOST_ACCESS_PREFIX + sha512(`host access of ${network}`).slice(0, HOST_VETH_DIGITS)
}

/** A number for an attachment, where there is no room for text: 1 to 2^31 - 1. */
export function attachmentNumber(network: string, containerId: string, ifname: string): number {
  return Number.parseInt(attachmentDigest(network, containerId, ifname).slice(0, 8), 16) & 0x7fff_ffff || 1
}

/** The name of a veth's host end: "veth" and 44 bits of the digest. */
export function hostVethName(network: string, containerId: string, ifname: string): string {
  return HOST_VETH_PREFIX + attachmentDigest(network, containerId, ifname).slice(0, HOST_VETH_DIGITS)
}
