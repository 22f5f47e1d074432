/**
 * Forwarding: which back ends carry it out on this host, and asking them. Everything here works on the network namespace
 * of the calling thread, which must be the host's.
 */

import type { Family, IpAddress } from '../address/address.ts'
import { runAll } from '../cni/best-effort.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Attachment } from './attachment.ts'
import { firewalldForwarding } from './firewalld.ts'
import {
  findHostFirewalls,
  type HostFirewalls,
  hasFirewalld,
  otherDropMessage,
  otherDropRemedy,
  otherDrops,
  outOfReachMessage,
  refuseDropped,
} from './foreign-drops.ts'
import type { Forwarding, ForwardingBackend, ForwardingCarrier, ForwardingOptions } from './forwarding-intent.ts'
import { iptablesForwarding } from './iptables/forwarding.ts'
import { nftablesForwarding } from './nftables/forwarding.ts'
import { firewallTable } from './nftables/forwarding-objects.ts'
import { hasTable } from './nftables/ruleset.ts'
import { openNftables } from './nftables/socket.ts'

const carriers: Readonly<Record<ForwardingBackend, ForwardingCarrier>> = {
  nftables: nftablesForwarding,
  iptables: iptablesForwarding,
  firewalld: firewalldForwarding,
}

/** What carries it out on this host. */
export interface ChosenBackends {
  /** One, or several where a packet has to pass several firewalls. */
  readonly backends: readonly ForwardingBackend[]
  /** What may keep packets from passing all the same, and what to do about it. */
  readonly warnings: readonly string[]
}

/**
 * Chooses by what drops on this host. As the Go plugin, firewalld where it runs; besides, or else, iptables where its
 * chains drop what is forwarded; otherwise nftables. With firewalld, nftables keeps the owners and the ingress policy.
 * @param wanted what the configuration names
 * @param families those that matter
 * @throws CniError code 104 when nftables is named and cannot help
 */
export function chooseBackends(
  wanted: ForwardingBackend | undefined,
  families: readonly Family[],
  options: ForwardingOptions,
): ChosenBackends {
  const socket = openNftables()
  try {
    const firewalls = findHostFirewalls(socket, families, options)
    if (wanted === 'nftables') refuseDropped(firewalls)
    const backends = backendsFor(wanted, firewalls, socket !== undefined)
    const unreachable = outOfReachMessage(firewalls)
    const isFirst = socket !== undefined && !hasTable(socket, firewallTable)
    return {
      backends,
      warnings: [
        ...(wanted === 'iptables' && firewalls.firewalld
          ? ['firewalld rejects what is forwarded, whatever iptables accepts: remove "backend", or set "firewalld"']
          : []),
        ...(backends.includes('iptables') && unreachable !== undefined ? [unreachable] : []),
        // Reading all chains takes longer than all else, on a host with many: once, until GC or a reload.
        ...(isFirst ? otherDrops(socket).map(drop => `${otherDropMessage(drop)}. ${otherDropRemedy(drop)}`) : []),
      ],
    }
  } finally {
    socket?.close()
  }
}

function backendsFor(
  wanted: ForwardingBackend | undefined,
  { firewalld, iptables }: HostFirewalls,
  hasNftables: boolean,
): readonly ForwardingBackend[] {
  if (wanted === 'nftables' || wanted === 'iptables') return [wanted]
  const owners: ForwardingBackend[] = hasNftables ? ['nftables'] : []
  if (wanted === 'firewalld') return [...owners, 'firewalld']
  if (!hasNftables) return ['iptables']
  if (firewalld) return [...owners, ...(iptables.length > 0 ? (['iptables'] as const) : []), 'firewalld']
  return iptables.length > 0 ? ['iptables'] : owners
}

/** @returns whether anything was added @throws CniError, NetlinkError */
export function addForwarding(
  backend: ForwardingBackend,
  attachment: Attachment,
  forwarding: Forwarding,
  options: ForwardingOptions,
): boolean {
  return carriers[backend].add(attachment, forwarding, options)
}

/** Compares only. @throws CniError code 105 naming what is missing */
export function checkForwarding(
  backend: ForwardingBackend,
  attachment: Attachment,
  forwarding: Forwarding,
  options: ForwardingOptions,
): void {
  carriers[backend].check(attachment, forwarding, options)
}

/** Removes what ADD has added with this back end. @throws CniError, NetlinkError */
export function undoForwarding(
  backend: ForwardingBackend,
  attachment: Attachment,
  addresses: readonly IpAddress[],
  options: ForwardingOptions,
): void {
  carriers[backend].delete(attachment, addresses, options)
}

/**
 * Asks all carriers that may hold anything. What firewalld is to remove nftables knows: it forgets that only when firewalld
 * has removed it.
 */
function askAll(wanted: ForwardingBackend | undefined, ask: (carrier: ForwardingCarrier) => void): void {
  runAll([
    () => {
      if (wanted === 'firewalld' || hasFirewalld()) ask(firewalldForwarding)
      ask(nftablesForwarding)
    },
    () => ask(iptablesForwarding),
  ])
}

/**
 * Removes what the attachment has, whichever back ends ADD used. Nothing there is fine.
 * @param wanted what the configuration names
 * @param addresses undefined when nobody knows them
 * @throws CniError when something failed, after all else was tried
 */
export function deleteForwarding(
  wanted: ForwardingBackend | undefined,
  attachment: Attachment,
  addresses: readonly IpAddress[] | undefined,
  options: ForwardingOptions,
): void {
  askAll(wanted, carrier => carrier.delete(attachment, addresses, options))
}

/** Removes what attachments of the network that are not listed have. @throws CniError as `deleteForwarding` */
export function gcForwarding(
  wanted: ForwardingBackend | undefined,
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
  options: ForwardingOptions,
): void {
  askAll(wanted, carrier => carrier.gc(network, valid, options))
}

/**
 * Whether containers can be let through. Of IPv6 nobody knows yet whether the network has it: where only ip6tables drops,
 * ADD tells.
 * @throws CniError saying what is missing or in the way
 */
export function forwardingStatus(wanted: ForwardingBackend | undefined, options: ForwardingOptions): void {
  for (const backend of chooseBackends(wanted, [4], options).backends) carriers[backend].status(options)
  const socket = openNftables()
  if (socket === undefined) return
  try {
    const drop = otherDrops(socket).find(({ always }) => always)
    if (drop !== undefined) throw new CniError(ErrorCode.conflict, otherDropMessage(drop), otherDropRemedy(drop))
  } finally {
    socket.close()
  }
}
