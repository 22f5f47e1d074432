/**
 * What is wanted of forwarding, whichever back end carries it out: what an attachment sends is let through to anywhere,
 * and what belongs to its connections back to it; and which other networks' containers may reach it.
 */

import type { IpAddress } from '../address/address.ts'
import type { Attachment } from './attachment.ts'

export type ForwardingBackend = 'nftables' | 'iptables' | 'firewalld'

/**
 * Who may reach containers behind a bridge, apart from the outside, which the policies leave alone:
 * - "open": whoever finds a way.
 * - "same-bridge": of the containers behind bridges that have a policy, those behind the same bridge.
 * - "isolated": none of them.
 */
export type IngressPolicy = 'open' | 'same-bridge' | 'isolated'

/** A policy that denies something, and the interfaces that it is about. */
export interface Ingress {
  readonly policy: Exclude<IngressPolicy, 'open'>
  /** Of the host, through which what it routes for the containers comes and goes: the bridge, most often only that. */
  readonly interfaces: readonly string[]
}

/** What one attachment wants. */
export interface Forwarding {
  /** Its own, each once. May be empty: then only `ingress` is wanted. */
  readonly addresses: readonly IpAddress[]
  /** Undefined for the policy "open". */
  readonly ingress: Ingress | undefined
}

/** What the back ends are to know besides. */
export interface ForwardingOptions {
  /** The plugin's, for programs of the host; may be empty. */
  readonly environment: Readonly<Record<string, string>>
  /** iptables: the chain of the administrator's own rules, "CNI-ADMIN" unless the configuration says otherwise. */
  readonly adminChain: string
  /** firewalld: the zone that addresses are put into. */
  readonly zone: string
}

/** What carries it out: `iptablesForwarding` in iptables/forwarding.ts, and the others likewise. */
export interface ForwardingCarrier {
  /**
   * Repeating it changes nothing.
   * @returns whether anything of the attachment's own was added, which a failing ADD then has to delete
   * @throws CniError, NetlinkError
   */
  add(attachment: Attachment, forwarding: Forwarding, options: ForwardingOptions): boolean
  /** Compares only. @throws CniError code 105 naming what is missing */
  check(attachment: Attachment, forwarding: Forwarding, options: ForwardingOptions): void
  /**
   * Removes what the attachment has; nothing there is fine. It is asked at every DEL, whichever back end ADD used, so no
   * program may run where nothing can be.
   * @param addresses undefined when nobody knows them
   */
  delete(attachment: Attachment, addresses: readonly IpAddress[] | undefined, options: ForwardingOptions): void
  /** Removes what attachments of the network that are not listed have. Asked at every GC, as `delete`. */
  gc(network: string, valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[], options: ForwardingOptions): void
  /** @throws CniError saying what it lacks */
  status(options: ForwardingOptions): void
}
