/**
 * What is wanted of port forwarding, whichever back end carries it out: what is sent to ports of the host's goes on to
 * an attachment, and comes back the way it went.
 */

import type { IpAddress } from '../address/address.ts'
import type { Prefix } from '../address/prefix.ts'
import type { Transport } from '../netlink/sock-diag/index.ts'
import type { Attachment } from './attachment.ts'

export type PortForwardingBackend = 'nftables' | 'iptables'

/** One port of the host's that leads to one of the container's. */
export interface PortMapping {
  readonly transport: Transport
  /** 1 to 65535 */
  readonly hostPort: number
  /** 1 to 65535 */
  readonly containerPort: number
  /** The host's; undefined for all of both families, 0.0.0.0 and "::" for all of one. */
  readonly hostAddress: IpAddress | undefined
}

/** What one attachment wants. */
export interface PortForwarding {
  /** No two that claim the same port of the same address. Not empty. */
  readonly mappings: readonly PortMapping[]
  /** The container's, each with the prefix length of its subnet: one of each family at most. */
  readonly addresses: readonly Prefix[]
  /** Masquerade what would not come back the way it went: from the container's subnet, and from localhost. */
  readonly snat: boolean
  /** Masquerade everything, wherever it comes from. Means nothing without `snat`. */
  readonly masqueradeAll: boolean
  /**
   * Of the container's subnet, only what the container sends to itself is masqueraded: its neighbours are routed to it,
   * not bridged, and are answered through the host anyway.
   */
  readonly preserveClientAddress: boolean
  /** iptables: the bit of the packet mark (0 to 31) that says "masquerade". */
  readonly markBit: number
  /** iptables: the chain of somebody else's that sets a mark which says "masquerade", instead of our own. */
  readonly externalMarkChain: string | undefined
  /** iptables: what else a packet must match, as parameters of the program. */
  readonly conditions: { readonly ip: readonly string[]; readonly ip6: readonly string[] }
  /** Identity of the container's network namespace, by which a later ADD sees whether its owner lives. */
  readonly namespace: bigint
}

/** What the back ends are to know besides. */
export interface PortForwardingOptions {
  /** The plugin's, for programs of the host; may be empty. */
  readonly environment: Readonly<Record<string, string>>
}

/** What is known at DEL, or at the undoing of ADD; either may be missing. */
export interface KnownForwarding {
  readonly mappings?: readonly PortMapping[]
  readonly addresses?: readonly Prefix[]
}

/** What carries it out: `iptablesPortForwarding` in iptables/port-forwarding.ts, and the other likewise. */
export interface PortForwardingCarrier {
  /**
   * Repeating it changes nothing. The forwarding is there altogether, or not at all.
   * @returns whether anything of the attachment's own was added, which a failing ADD then has to delete
   * @throws CniError code 104 naming who has the port, NetlinkError
   */
  add(attachment: Attachment, forwarding: PortForwarding, options: PortForwardingOptions): boolean
  /** Compares only. @throws CniError code 105 naming what is missing */
  check(attachment: Attachment, forwarding: PortForwarding, options: PortForwardingOptions): void
  /**
   * Removes all that the attachment has; nothing there is fine. It is asked at every DEL, whichever back end ADD used, so
   * no program may run where nothing can be.
   */
  delete(attachment: Attachment, known: KnownForwarding, options: PortForwardingOptions): void
  /** Removes what attachments of the network that are not listed have. Asked at every GC, as `delete`. */
  gc(
    network: string,
    valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
    options: PortForwardingOptions,
  ): void
  /** @throws CniError saying what it lacks */
  status(options: PortForwardingOptions): void
}
