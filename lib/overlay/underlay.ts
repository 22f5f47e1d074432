/** The network beneath the tunnels: this host's address in it, and how large its packets may be. */

import { equalAddresses, familyOf, formatAddress, type IpAddress } from '../address/address.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import { listAddresses } from '../netlink/route/addr/index.ts'
import { getLink, type Link } from '../netlink/route/link/index.ts'
import { getRoute } from '../netlink/route/route/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'

/** What a tunnel packet has around the container's IP packet: Ethernet, VXLAN, UDP and IP headers. @see RFC 7348 */
export function tunnelOverhead(local: IpAddress): number {
  return familyOf(local) === 4 ? 14 + 8 + 8 + 20 : 14 + 8 + 8 + 40
}

/** The index of the link that has one of the addresses, with that address; undefined when none of them is this host's. */
function ownAddresses(host: NetlinkSocket, candidates: readonly IpAddress[]): { index: number; address: IpAddress }[] {
  const present = listAddresses(host)
  return candidates.flatMap(address => {
    const own = present.find(({ prefix }) => equalAddresses(prefix.address, address))
    return own === undefined ? [] : [{ index: own.index, address }]
  })
}

/** The one of the peers that is this host. @throws CniError code 7 when none is, or several are */
export function localAmong(host: NetlinkSocket, peers: readonly IpAddress[]): IpAddress {
  const own = ownAddresses(host, peers).map(({ address }) => address)
  const [local, second] = own
  if (local !== undefined && second === undefined) return local
  const list = peers.map(formatAddress).join(', ')
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    local === undefined
      ? `"controlPlane.peers" has no address of this host: ${list}`
      : `"controlPlane.peers" has ${own.length} addresses of this host: ${own.map(formatAddress).join(', ')}`,
    'list one address of each host of the network, or set "controlPlane.local" to this host\'s',
  )
}

/** The link that has the address. @throws CniError code 7 when the host does not have it */
export function linkOfLocal(host: NetlinkSocket, local: IpAddress): Link {
  const [own] = ownAddresses(host, [local])
  const link = own && getLink(host, { index: own.index })
  if (link !== undefined) return link
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `the tunnel address ${formatAddress(local)} is no address of this host`,
    'set "controlPlane.local" to an address that "ip address" shows, or leave it out',
  )
}

/** The first address of a link that others can send to, in one family. @throws CniError code 7 when it has none */
export function addressOfLink(host: NetlinkSocket, link: Link, family: 4 | 6): IpAddress {
  const own = listAddresses(host, { index: link.index, family }).find(({ scope }) => scope === 0)
  if (own !== undefined) return own.prefix.address
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `interface "${link.name}" has no IPv${family} address for the tunnels`,
    'give it one, name another "controlPlane.interface", or use a group of the other family',
  )
}

/** How large packets may be on the way to a peer, and on which link that is. */
interface Carrier {
  readonly mtu: number
  readonly link: string
}

/** @param links those that were looked up before: peers are many, and the links to them few */
function carrierTo(host: NetlinkSocket, peer: IpAddress, links: Map<number, Link | undefined>): Carrier {
  const route = getRoute(host, { destination: peer })
  const index = route?.index ?? 0
  if (!links.has(index)) links.set(index, index === 0 ? undefined : getLink(host, { index }))
  const link = links.get(index)
  if (route === undefined || link === undefined) {
    throw new CniError(
      ErrorCode.conflict,
      `there is no route to peer ${formatAddress(peer)}`,
      'add one, or remove the peer from "controlPlane.peers"',
    )
  }
  return { mtu: Math.min(link.mtu, route.metrics.mtu || link.mtu), link: link.name }
}

/** Where the packets of a tunnel go. */
export interface TunnelWay {
  readonly local: IpAddress
  /** Those that are known. */
  readonly peers: readonly IpAddress[]
  /** The interface that carries them, when it need not be the one that has the address. */
  readonly link?: Link
}

/** What the interface carries where nothing better is known: the tunnel address may be one of the loopback interface. */
const ORDINARY_MTU = 1500

/**
 * The MTU of a network's links: what the configuration says, or what the way to the peers leaves.
 * @param configured 0 for the largest that fits
 * @throws CniError code 7 when the configured one does not fit, or the underlay is too narrow for any
 */
export function tunnelMtu(host: NetlinkSocket, configured: number, { local, peers, link }: TunnelWay): number {
  const own = linkOfLocal(host, local)
  const { name, loopback, mtu } = link ?? own
  let narrowest: Carrier = { mtu: loopback && peers.length === 0 ? ORDINARY_MTU : mtu, link: name }
  const links = new Map<number, Link | undefined>()
  for (const peer of peers) {
    const carrier = carrierTo(host, peer, links)
    if (carrier.mtu < narrowest.mtu) narrowest = carrier
  }
  const overhead = tunnelOverhead(local)
  const largest = narrowest.mtu - overhead
  if (largest < MIN_MTU) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `the underlay is too narrow: "${narrowest.link}" carries ${narrowest.mtu} bytes, and VXLAN takes ${overhead} of them`,
      'raise the MTU of the interface',
    )
  }
  if (configured <= largest) return configured > 0 ? configured : largest
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `"mtu" is ${configured}, but at most ${largest} fits: "${narrowest.link}" carries ${narrowest.mtu} bytes, and VXLAN over IPv${familyOf(local)} takes ${overhead} of them`,
    `set "mtu" to ${largest} or less, leave it out to have it derived, or raise the MTU of the underlay`,
  )
}

/** ETH_MIN_MTU, linux/if_ether.h. */
const MIN_MTU = 68
