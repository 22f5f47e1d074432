/** Bridge and VXLAN device of a network. */

import { equalAddresses, type IpAddress } from '../address/address.ts'
import { type MacAddress, randomMac } from '../address/mac.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import { NetlinkError } from '../netlink/error.ts'
import type { Request } from '../netlink/message.ts'
import { addLinkRequest, deleteLink, type Link, setLinkRequest } from '../netlink/route/link/index.ts'
import {
  appendForwardingEntryRequest,
  deleteForwardingEntryRequest,
  mapForwardingEntries,
} from '../netlink/route/neigh/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { allocate } from '../sys/bytes.ts'
import { Errno } from '../sys/errno.ts'
import { OVERLAY_BRIDGE, OVERLAY_VXLAN } from './names.ts'
import { listTunnels, type OverlayNamespace } from './namespace.ts'

/** A network's tunnel as this host is to have it. */
export interface Tunnel {
  readonly vni: number
  readonly port: number
  /** This host's tunnel address: the source of all its packets, pinned. */
  readonly local: IpAddress
  readonly mtu: number
  /** Learns from packets behind which host an address is; without it somebody writes the entries. */
  readonly learning: boolean
  /** Packets for everybody go to this multicast group, by the interface of this index. */
  readonly multicast?: { readonly group: IpAddress; readonly index: number }
}

/** Makes the bridge, down. The port that the tunnel is gives it its MTU. */
export function createBridge({ socket }: OverlayNamespace): void {
  socket.execute(addLinkRequest({ name: OVERLAY_BRIDGE, kind: 'bridge', mac: randomMac() }))
}

/** Brings the bridge up. It does not look into IGMP and MLD: the other hosts' listeners are not to be seen from here. */
export function startBridge({ socket }: OverlayNamespace): void {
  socket.execute(setLinkRequest({ name: OVERLAY_BRIDGE, up: true, bridge: { mcastSnooping: false } }))
}

/**
 * Makes the VXLAN device in the overlay namespace, as the host's: made from there, its socket is, and stays, the host's.
 * It is down, and no port of the bridge yet.
 * @throws CniError code 104 naming who has the VNI on this host, 11 when nobody can be found who has
 */
export function createVxlan(host: NetlinkSocket, overlay: OverlayNamespace, tunnel: Tunnel): void {
  const { vni, port, local, mtu, learning, multicast } = tunnel
  try {
    host.execute(
      addLinkRequest({
        name: OVERLAY_VXLAN,
        kind: 'vxlan',
        namespace: overlay.namespace.fd,
        mac: randomMac(),
        mtu,
        vxlan: {
          id: vni,
          port,
          local,
          learning,
          ...(multicast === undefined ? {} : { group: multicast.group, link: multicast.index }),
        },
      }),
    )
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === Errno.EEXIST) throw taken(host, tunnel, error)
    throw error
  }
}

function taken(host: NetlinkSocket, { vni, port }: Tunnel, cause: NetlinkError): CniError {
  const other = listTunnels(host).find(one => one.vni === vni && one.port === port)
  if (other === undefined) {
    return new CniError(
      ErrorCode.tryAgainLater,
      `VNI ${vni} on port ${port} is taken on this host by a namespace without a name`,
      'one that was given up is taken apart after a moment; if it stays, a process holds it: "lsns -t net"',
      { cause },
    )
  }
  return new CniError(
    ErrorCode.conflict,
    `VNI ${vni} on port ${port} is taken on this host by ${other.owner}`,
    'give the network another "vni" or "port" on all hosts',
    { cause },
  )
}

/** Brings the device up: from now on packets pass. @throws CniError code 104 when the port is taken */
export function startVxlan({ socket }: OverlayNamespace, { port }: Tunnel, alias: string): void {
  try {
    // The alias last: it says that all of it is done.
    socket.executeAll([setLinkRequest({ name: OVERLAY_VXLAN, up: true })])
    socket.executeAll([setLinkRequest({ name: OVERLAY_VXLAN, alias })])
  } catch (error) {
    if (!(error instanceof NetlinkError && error.errno === Errno.EADDRINUSE)) throw error
    throw new CniError(
      ErrorCode.conflict,
      `UDP port ${port} is taken on this host by another program or another kind of tunnel`,
      `"ss -ulpn sport = :${port}" shows who has it: stop it, or give the network another "port" on all hosts`,
      { cause: error },
    )
  }
}

/** Whether a device that is there is the one that is wanted, apart from what can be changed. */
export function isSameTunnel({ vxlan }: Link, { vni, port, local, learning, multicast }: Tunnel): boolean {
  return (
    vxlan?.id === vni &&
    vxlan.port === port &&
    vxlan.local !== undefined &&
    equalAddresses(vxlan.local, local) &&
    vxlan.learning === learning &&
    (multicast === undefined
      ? vxlan.group === undefined
      : vxlan.group !== undefined && equalAddresses(vxlan.group, multicast.group) && vxlan.link === multicast.index)
  )
}

/** Makes the device a port of the bridge, with what can be changed while it is used. */
export function adjustVxlan(
  { socket }: OverlayNamespace,
  { vxlan, bridge }: { readonly vxlan: Link; readonly bridge: Link },
  { mtu, learning }: Tunnel,
): void {
  const { index } = vxlan
  socket.executeAll([
    setLinkRequest({ index, mtu, ...(vxlan.master === bridge.index ? {} : { master: bridge.index }) }),
    setLinkRequest({
      index,
      // Where somebody writes the tables, they answer ARP too, and a row that the bridge learns would outlive a
      // container's move to another host.
      bridgePort: { learning, neighSuppress: !learning },
    }),
  ])
}

/** Takes the device away, to be made anew. */
export function deleteVxlan({ socket }: OverlayNamespace): void {
  deleteLink(socket, { name: OVERLAY_VXLAN }, { missing: 'ignore' })
}

/** Stands for every address that has no entry of its own, broadcast and multicast ones included. */
const everybody: MacAddress = allocate(6)

/**
 * Sends packets for everybody to exactly these hosts, one copy each (head-end replication).
 * @param present to which they go now, where that is known
 */
export function setFloodPeers(
  { socket }: OverlayNamespace,
  vxlan: Link,
  peers: readonly IpAddress[],
  present: readonly IpAddress[] = floodPeers(socket, vxlan),
): void {
  const entry = (destination: IpAddress) => ({ index: vxlan.index, mac: everybody, destination })
  const changes: Request[] = [
    ...difference(present, peers).map(peer => deleteForwardingEntryRequest(entry(peer))),
    ...difference(peers, present).map(peer => appendForwardingEntryRequest(entry(peer))),
  ]
  socket.executeAll(changes)
}

/** The hosts to which packets for everybody go. */
export function floodPeers(socket: NetlinkSocket, vxlan: Link): IpAddress[] {
  return mapForwardingEntries(socket, { index: vxlan.index }, ({ self, mac, destination }) =>
    self && mac.every(byte => byte === 0) ? destination : undefined,
  )
}

function difference(of: readonly IpAddress[], without: readonly IpAddress[]): IpAddress[] {
  return of.filter(one => !without.some(other => equalAddresses(one, other)))
}
