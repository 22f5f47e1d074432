/** The bridge, or a link on it, as a router: its addresses, and forwarding. */

import { familyOf } from '../address/address.ts'
import { formatPrefix, type Prefix, prefixesOverlap, samePrefix } from '../address/prefix.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Transaction } from '../cni/transaction.ts'
import { type Address, listAddresses } from '../netlink/route/addr/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { readSysctl, writeSysctl, writeSysctlIfExists } from '../netns/sysctl.ts'

/** What a gateway lacks, and what is in the way. */
export interface AddressPlan {
  readonly missing: readonly Prefix[]
  readonly conflicting: readonly Address[]
}

/**
 * Compares a gateway's addresses with the wanted. In IPv4 any other address is in the way; in IPv6, where links have
 * several, one whose prefix overlaps.
 * @throws CniError code 104 when something is in the way and `force` is false
 */
export function planGatewayAddresses(
  socket: NetlinkSocket,
  gateway: { index: number; name: string },
  wanted: readonly Prefix[],
  force: boolean,
): AddressPlan {
  const present = listAddresses(socket, { index: gateway.index })
  const conflicting = present.filter(
    ({ prefix }) => !wanted.some(one => samePrefix(one, prefix)) && wanted.some(one => inTheWay(prefix, one)),
  )
  if (conflicting.length > 0 && !force) {
    const [first = ''] = conflicting.map(({ prefix }) => formatPrefix(prefix))
    throw new CniError(
      ErrorCode.conflict,
      `"${gateway.name}" already has an IP address different from ${wanted.map(formatPrefix).join(', ')}: ${first}`,
      `remove it with "ip address delete ${first} dev ${gateway.name}", use another bridge, or set "forceAddress": true`,
    )
  }
  return { missing: wanted.filter(one => !present.some(({ prefix }) => samePrefix(one, prefix))), conflicting }
}

function inTheWay(present: Prefix, wanted: Prefix): boolean {
  if (familyOf(present.address) !== familyOf(wanted.address)) return false
  return familyOf(wanted.address) === 4 || prefixesOverlap(present, wanted)
}

/** The host must not take routes from its containers, nor wait before its own addresses answer. */
export function prepareGatewaySysctls(link: string, duplicateAddressDetection: boolean): void {
  writeSysctlIfExists(`net/ipv6/conf/${link}/accept_ra`, '0')
  if (!duplicateAddressDetection) writeSysctlIfExists(`net/ipv6/conf/${link}/accept_dad`, '0')
}

const forwarding = { 4: 'net/ipv4/ip_forward', 6: 'net/ipv6/conf/all/forwarding' } as const

/** Sysctls that let the host forward packets of the families in use. */
export function forwardingSysctls(prefixes: readonly Prefix[]): string[] {
  return [...new Set(prefixes.map(prefix => forwarding[familyOf(prefix.address)]))]
}

/** Lets the host forward. Never undone: by then other networks may rely on it. */
export function enableForwarding(transaction: Transaction, prefixes: readonly Prefix[]): void {
  for (const name of forwardingSysctls(prefixes)) {
    if (readSysctl(name) !== '1') transaction.step(`set sysctl ${name}`, () => writeSysctl(name, '1'))
  }
}
