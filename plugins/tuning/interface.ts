/** The container's interface, and its other end on the host: what is changed of them, within their limits. */

import { familyOf } from '../../lib/address/address.ts'
import { formatMac } from '../../lib/address/mac.ts'
import { ownAddresses } from '../../lib/attachment/check.ts'
import { findHostLink } from '../../lib/attachment/host-link.ts'
import type { Sockets } from '../../lib/attachment/sockets.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest } from '../../lib/cni/types.ts'
import type { Request } from '../../lib/netlink/message.ts'
import { getLink, type Link, LinkFlag, setLinkRequest } from '../../lib/netlink/route/link/index.ts'
import type { NetlinkSocket } from '../../lib/netlink/socket.ts'
import type { InterfaceSettings } from './config.ts'

/** The interface that the plugins before this one have made. @throws CniError code 7 */
export function findInterface(container: NetlinkSocket, { ifname, netns }: AttachmentRequest): Link {
  const link = getLink(container, { name: ifname })
  if (link !== undefined) return link
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `there is no interface "${ifname}" in the namespace "${netns}"`,
    'tuning changes what a plugin before it in the chain has made: put it behind that one',
  )
}

/** Tells an interface from others that have had, or will have, its name. */
export function interfaceIdentity({ namespace }: Sockets, { index }: Link): string {
  return `${namespace.identity}/${index}`
}

/** The other end of a veth, if that is on the host. */
export function findHostEnd(sockets: Sockets, link: Link): Link | undefined {
  return link.kind === 'veth' ? findHostLink(sockets, link) : undefined
}

/** IPV6_MIN_MTU, linux/ipv6.h: the kernel takes its IPv6 addresses from an interface with less. */
const IPV6_MIN_MTU = 1280

/**
 * What the host's end is given. Its bridge follows it, and must not lose its own addresses: with less than IPv6 needs, the
 * host's end is only lowered as far as that.
 */
export function hostEndMtu(mtu: number): number {
  return Math.max(mtu, IPV6_MIN_MTU)
}

/** Kinds whose MTU the kernel limits to that of the link beneath. */
const limitedByMaster: readonly string[] = ['macvlan', 'macvtap', 'vlan']

/** Refuses what the kernel would refuse, or answer by taking addresses away. @throws CniError code 7 */
export function checkSettings(sockets: Sockets, link: Link, settings: InterfaceSettings, request: AttachmentRequest) {
  const { mac, mtu } = settings
  if (mac !== undefined && link.mac?.length !== mac.length) {
    refuse(`interface "${link.name}" cannot have the MAC address ${formatMac(mac)}: it is no Ethernet`, 'remove "mac"')
  }
  if (mtu === undefined) return
  const { minMtu = 0, maxMtu = 0 } = link
  if (mtu < minMtu || (maxMtu > 0 && mtu > maxMtu)) {
    refuse(`"mtu" is ${mtu}, but "${link.name}" takes ${minMtu} to ${maxMtu || 'any'}`, 'choose another one')
  }
  const addresses = mtu < IPV6_MIN_MTU ? ownAddresses(request, request.prevResult ?? {}) : []
  if (addresses.some(({ prefix }) => familyOf(prefix.address) === 6)) {
    refuse(`"mtu" is ${mtu}, but IPv6 needs ${IPV6_MIN_MTU}`, 'choose a larger one, or remove the IPv6 addresses')
  }
  if (link.kind === undefined || !limitedByMaster.includes(link.kind)) return
  const isInContainer = link.parentNamespaceId === undefined
  const master = isInContainer ? getLink(sockets.container, { index: link.parent ?? 0 }) : findHostLink(sockets, link)
  if (master !== undefined && mtu > master.mtu) {
    refuse(`"mtu" is ${mtu}, but master "${master.name}" of "${link.name}" has ${master.mtu}`, 'choose a smaller one')
  }
}

function refuse(message: string, remedy: string): never {
  throw new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}

/** Those of the settings that are given, as they are at present. */
export function presentSettings(link: Link, settings: InterfaceSettings): InterfaceSettings {
  const { mac, mtu, promiscuous, allMulticast, txQueueLength } = settings
  return {
    mac: mac && link.mac,
    mtu: mtu && link.mtu,
    promiscuous: promiscuous === undefined ? undefined : link.promiscuous,
    allMulticast: allMulticast === undefined ? undefined : (link.flags & LinkFlag.allMulticast) !== 0,
    txQueueLength: txQueueLength === undefined ? undefined : link.txQueueLength,
  }
}

/**
 * Changes a link as far as settings are given: all that can be changed, even if one cannot.
 * @returns what went wrong
 */
export function changeLink(socket: NetlinkSocket, { index, name }: Link, settings: InterfaceSettings): CniError[] {
  const { mac, mtu, promiscuous, allMulticast, txQueueLength } = settings
  const changes: [what: string, request: Request][] = []
  if (mac !== undefined) changes.push([`MAC address ${formatMac(mac)}`, setLinkRequest({ index, mac })])
  if (mtu !== undefined) changes.push([`MTU ${mtu}`, setLinkRequest({ index, mtu })])
  if (promiscuous !== undefined)
    changes.push([`promiscuous mode ${promiscuous ? 'on' : 'off'}`, setLinkRequest({ index, promiscuous })])
  if (allMulticast !== undefined)
    changes.push([`all-multicast mode ${allMulticast ? 'on' : 'off'}`, setLinkRequest({ index, allMulticast })])
  if (txQueueLength !== undefined)
    changes.push([`transmit queue length ${txQueueLength}`, setLinkRequest({ index, txQueueLength })])
  const errors: CniError[] = []
  const failures = socket.tryAll(changes.map(([, request]) => request))
  for (let change = 0; change < changes.length; change++) {
    const failure = failures[change]
    if (failure === undefined) continue
    errors.push(
      new CniError(ErrorCode.kernel, `cannot set ${changes[change]?.[0]} of "${name}": ${failure.message}`, undefined, {
        cause: failure,
      }),
    )
  }
  return errors
}

/** An MTU alone. */
export function mtuOnly(mtu: number): InterfaceSettings {
  return { mtu, mac: undefined, promiscuous: undefined, allMulticast: undefined, txQueueLength: undefined }
}
