/** The container's end: addresses, routes, and the sysctls that must stand before its link is up. */

import { libc } from '#libc'
import { familyOf } from '../address/address.ts'
import { formatPrefix } from '../address/prefix.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { Request } from '../netlink/message.ts'
import { addAddressRequest, listAddresses } from '../netlink/route/addr/index.ts'
import { getLink, type Link, setLinkRequest } from '../netlink/route/link/index.ts'
import { addRouteRequest } from '../netlink/route/route/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import type { NetworkNamespace } from '../netns/index.ts'
import { readSysctlIfExists, writeSysctl, writeSysctlIfExists } from '../netns/sysctl.ts'
import { Errno } from '../sys/errno.ts'
import type { Addressing, RouteSpec } from './addressing.ts'

/** @throws CniError code 104 when the container already has an interface of that name */
export function refuseExistingInterface(container: NetlinkSocket, ifname: string, netns: string): void {
  const link = getLink(container, { name: ifname })
  if (link === undefined) return
  throw new CniError(
    ErrorCode.conflict,
    `interface "${ifname}" already exists in the namespace "${netns}"`,
    'run DEL for the attachment first, or choose another interface name',
  )
}

export interface InterfaceOptions {
  /** IPv6 addresses answer only when nobody else has turned out to have them. */
  readonly duplicateAddressDetection: boolean
  /** IPv6 addresses are announced too, with an unsolicited neighbour advertisement. IPv4's always are. */
  readonly announceIpv6?: boolean
}

/**
 * Addresses and routes of the container's interface, and the link up: one datagram, in the order that the kernel needs.
 * @returns the link as it was before it was brought up
 */
export function configureInterface(
  container: NetlinkSocket,
  namespace: NetworkNamespace,
  ifname: string,
  addressing: Addressing,
  options: InterfaceOptions,
): Link {
  const { duplicateAddressDetection, announceIpv6 = false } = options
  const link = mustGetLink(container, ifname)
  const { index } = link
  const hasIpv6 = addressing.addresses.some(prefix => familyOf(prefix.address) === 6)
  if (hasIpv6) namespace.run(() => prepareIpv6(ifname, options))
  // The kernel announces an IPv6 address when its detection of duplicates ends, even one that looks for none, and
  // drops the announcement while the link is down. An address marked as needing none it never announces.
  const late = announceIpv6 ? addressing.addresses.filter(prefix => familyOf(prefix.address) === 6) : []
  const early = announceIpv6
    ? addressing.addresses.filter(prefix => familyOf(prefix.address) === 4)
    : addressing.addresses
  container.executeAll([
    ...early.map(prefix => addAddressRequest({ index, prefix, noDad: !duplicateAddressDetection })),
    ...bringUpRequests(index),
    ...late.map(prefix => addAddressRequest({ index, prefix })),
  ])
  // A route that is there already is as good as one added: results may name a route twice, as the Go plugin's do.
  container.executeAll(
    addressing.routes.map(spec => routeRequest(link, spec)),
    { expected: [Errno.EEXIST] },
  )
  if (duplicateAddressDetection || late.length > 0) waitForAddresses(container, link)
  return link
}

/** The interface of a network without addresses, up. @returns the link as it was before */
export function bringUpInterface(container: NetlinkSocket, ifname: string): Link {
  const link = mustGetLink(container, ifname)
  container.executeAll(bringUpRequests(link.index))
  return link
}

/** A link up, which announces the IPv4 addresses that it has. */
function bringUpRequests(index: number): Request[] {
  return [setLinkRequest({ index, ipv4Conf: { arpNotify: 1 } }), setLinkRequest({ index, up: true })]
}

export function mustGetLink(socket: NetlinkSocket, name: string): Link {
  const link = getLink(socket, { name })
  if (link !== undefined) return link
  throw new CniError(ErrorCode.kernel, `interface "${name}" vanished while it was configured`)
}

function routeRequest(link: Link, { destination, gateway, route }: RouteSpec) {
  return addRouteRequest({
    index: link.index,
    destination,
    gateway,
    mtu: route.mtu,
    advmss: route.advmss,
    priority: route.priority,
    table: route.table,
    scope: route.scope,
  })
}

/** Sysctls have no netlink form in IPv6. Runs inside the container's namespace. */
function prepareIpv6(ifname: string, { duplicateAddressDetection, announceIpv6 }: InterfaceOptions): void {
  const directory = `net/ipv6/conf/${ifname}`
  if (readSysctlIfExists(`${directory}/disable_ipv6`) === undefined) {
    throw new CniError(
      ErrorCode.kernelFeatureMissing,
      'the kernel has no IPv6, but the network gives IPv6 addresses',
      'boot without ipv6.disable=1, or remove the IPv6 ranges',
    )
  }
  for (const name of ['lo', ifname]) {
    if (readSysctlIfExists(`net/ipv6/conf/${name}/disable_ipv6`) !== '0') {
      writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, '0')
    }
  }
  writeSysctl(`${directory}/keep_addr_on_down`, '1')
  writeSysctl(`${directory}/accept_dad`, duplicateAddressDetection ? '1' : '0')
  if (duplicateAddressDetection) writeSysctlIfExists(`${directory}/enhanced_dad`, '1')
  if (announceIpv6) writeSysctl(`${directory}/ndisc_notify`, '1')
}

const SETTLE_TIMEOUT_MS = 5_000

/** Waits until duplicate address detection has accepted the addresses. @throws CniError code 104 for a duplicate */
function waitForAddresses(container: NetlinkSocket, link: Link): void {
  const deadline = Date.now() + SETTLE_TIMEOUT_MS
  // Without detection the kernel is done in no time, and with it after a second.
  for (let waitMicroseconds = 200; ; waitMicroseconds = Math.min(waitMicroseconds * 2, 10_000)) {
    const addresses = listAddresses(container, { index: link.index, family: 6 })
    const duplicate = addresses.find(address => address.dadFailed)
    if (duplicate !== undefined) {
      throw new CniError(
        ErrorCode.conflict,
        `another host already has the address ${formatPrefix(duplicate.prefix)} (duplicate address detection)`,
        'find it with "ip -6 neighbour", or exclude the address from the range',
      )
    }
    if (!addresses.some(address => address.tentative) || Date.now() > deadline) return
    libc.usleep(waitMicroseconds)
  }
}
