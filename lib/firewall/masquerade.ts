/**
 * Masquerade: what an attachment sends beyond its own subnet leaves the host with the host's address.
 * Everything here works on the network namespace of the calling thread, which must be the host's.
 */

import { formatPrefix, type Prefix } from '../address/prefix.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import type { Attachment } from './attachment.ts'
import { addToIptables, checkIptables, deleteFromLegacyIptables, gcLegacyIptables } from './iptables/masquerade.ts'
import { hasLegacyTable, requirePrograms } from './iptables/table.ts'
import { foreignChains, isMasqueradedByGo } from './nftables/foreign.ts'
import { cnikitTable } from './nftables/layout.ts'
import { addToNftables } from './nftables/masquerade-add.ts'
import { checkNftables } from './nftables/masquerade-check.ts'
import { deleteFromNftables } from './nftables/masquerade-delete.ts'
import { gcNftables } from './nftables/masquerade-gc.ts'
import { hasTable } from './nftables/ruleset.ts'
import { openNftables, requireNftables } from './nftables/socket.ts'
import type { PendingClose } from './pending-close.ts'

export type { Attachment } from './attachment.ts'

export type MasqueradeBackend = 'nftables' | 'iptables'

/** What a program of the host is run with. */
export interface FirewallOptions {
  /** The plugin's; may be empty. */
  readonly environment?: Readonly<Record<string, string>>
}

function requireForMasquerade(): NetlinkSocket {
  return requireNftables('masquerade with nftables', 'set "ipMasqBackend": "iptables"')
}

/** The addresses, each once. */
function distinct(addresses: readonly Prefix[]): Prefix[] {
  return [...new Map(addresses.map(address => [formatPrefix(address), address])).values()]
}

/**
 * Masquerades the attachment's addresses, each with the prefix length of its subnet. Repeating it changes nothing.
 * @throws CniError, NetlinkError; with nftables nothing is changed then
 */
export function addMasquerade(
  backend: MasqueradeBackend,
  attachment: Attachment,
  addresses: readonly Prefix[],
  options: FirewallOptions = {},
): void {
  if (addresses.length === 0) return
  if (backend === 'nftables') {
    const socket = requireForMasquerade()
    try {
      addToNftables(socket, attachment, distinct(addresses))
    } finally {
      socket.close()
    }
    return
  }
  const socket = openNftables()
  try {
    const families = socket === undefined ? [] : foreignChains(socket, attachment).families
    const hasChain = (family: 4 | 6) => families.includes(family === 4 ? 'ip' : 'ip6')
    addToIptables(attachment, distinct(addresses), hasChain, options.environment ?? {})
  } finally {
    socket?.close()
  }
}

/**
 * Removes the attachment's masquerade, whichever back end made it, and whether cnikit or a Go plugin did. Nothing there
 * is fine.
 *
 * @param options.addresses the attachment's, with prefix lengths: they save reading the network's sets. Leave them out
 *   only when nobody knows them: rules of iptables do not name the interface, and then all those of the container in the
 *   network go, and not only those of the addresses.
 */
export function deleteMasquerade(
  attachment: Attachment,
  options: FirewallOptions & { readonly addresses?: readonly Prefix[] } = {},
): PendingClose {
  const addresses = options.addresses && distinct(options.addresses)
  const socket = openNftables()
  const close = () => socket?.close()
  try {
    if (socket !== undefined) deleteFromNftables(socket, attachment, addresses)
    deleteFromLegacyIptables(attachment, addresses, options.environment ?? {})
    return { close }
  } catch (error) {
    close()
    throw error
  }
}

/** Whether the back end can work here. @throws CniError saying what it lacks */
export function masqueradeStatus(backend: MasqueradeBackend, options: FirewallOptions = {}): void {
  if (backend === 'nftables') requireForMasquerade().close()
  else requirePrograms(options.environment ?? {})
}

/**
 * Whether the masquerade is as ADD left it. An attachment that a Go plugin made, before cnikit took its place, may have
 * it in that plugin's way.
 * @throws CniError code 105 naming what is missing
 */
export function checkMasquerade(
  backend: MasqueradeBackend,
  attachment: Attachment,
  addresses: readonly Prefix[],
  options: FirewallOptions = {},
): void {
  if (addresses.length === 0) return
  const environment = options.environment ?? {}
  if (backend === 'iptables') {
    checkIptables(attachment, distinct(addresses), environment)
    return
  }
  const socket = requireForMasquerade()
  try {
    checkNftables(socket, attachment, distinct(addresses))
  } catch (error) {
    if (!isMasqueradedOtherwise(socket, attachment, addresses, environment)) throw error
  } finally {
    socket.close()
  }
}

function isMasqueradedOtherwise(
  socket: NetlinkSocket,
  attachment: Attachment,
  addresses: readonly Prefix[],
  environment: Readonly<Record<string, string>>,
): boolean {
  if (isMasqueradedByGo(socket, attachment)) return true
  if (
    foreignChains(socket, attachment).families.length === 0 &&
    !hasLegacyTable('nat', 4) &&
    !hasLegacyTable('nat', 6)
  ) {
    return false
  }
  try {
    checkIptables(attachment, addresses, environment)
    return true
  } catch {
    return false
  }
}

/**
 * Removes the masquerade of all attachments of the network that are not listed, whichever back end made it, and with the
 * last of them the tables and chains.
 */
export function gcMasquerade(
  network: string,
  validAttachments: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
  options: FirewallOptions = {},
): void {
  const socket = openNftables()
  try {
    if (socket !== undefined) gcNftables(socket, network, validAttachments)
  } finally {
    socket?.close()
  }
  const containers = new Set(validAttachments.map(attachment => attachment.containerId))
  gcLegacyIptables(network, containers, options.environment ?? {})
}

/** Whether the table that cnikit's nftables state is in exists; GC removes it with the last subnet. */
export function hasFirewallState(): boolean {
  const socket = openNftables()
  try {
    return socket !== undefined && hasTable(socket, cnikitTable)
  } finally {
    socket?.close()
  }
}
