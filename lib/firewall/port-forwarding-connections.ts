/**
 * UDP connections that would go on as they began: a client that never pauses keeps the translation of its first packet,
 * to a container that is gone, or to none because there was none yet. TCP notices by itself.
 */

import { equalAddresses, type IpAddress } from '../address/address.ts'
import { type Connection, deleteConnections } from '../netlink/netfilter/conntrack.ts'
import type { Transport } from '../netlink/sock-diag/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'

/** IPPROTO_UDP */
const UDP = 17

/** Ports of the host that lead, or led, to a container. */
export interface ForwardedPorts {
  readonly transport: Transport
  readonly first: number
  readonly last: number
  /** The host's; undefined for all of the container's family. */
  readonly hostAddress: IpAddress | undefined
  readonly container: IpAddress
}

/** Forgets the connections that led to a container over these ports, when they lead there no longer. */
export function forgetForwarded(socket: NetlinkSocket, ports: readonly ForwardedPorts[]): void {
  forget(socket, ports, ({ reply }, { container }) => same(reply.source, container))
}

/**
 * Forgets the connections to these ports of the host's that lead elsewhere than to the container: to nobody, or to another.
 * @param isOfHost whether an address is one of the host's: what passes it on its way elsewhere is left alone
 */
export function forgetOthers(
  socket: NetlinkSocket,
  ports: readonly ForwardedPorts[],
  isOfHost: (address: IpAddress) => boolean,
): void {
  forget(
    socket,
    ports,
    ({ original: { destination }, reply }, { container }) =>
      destination !== undefined && isOfHost(destination) && !same(reply.source, container),
  )
}

const same = (a: IpAddress | undefined, b: IpAddress | undefined): boolean =>
  a !== undefined && b !== undefined && equalAddresses(a, b)

function forget(
  socket: NetlinkSocket,
  ports: readonly ForwardedPorts[],
  which: (connection: Connection, ports: ForwardedPorts) => boolean,
): void {
  const udp = ports.filter(({ transport }) => transport === 'udp')
  for (const length of [4, 16]) {
    const concerned = udp.filter(({ container }) => container.length === length)
    const [only] = concerned
    if (only === undefined) continue
    // The kernel goes through its whole table every time: once, however many ports.
    const one = concerned.length === 1 && only.first === only.last ? { destinationPort: only.first } : {}
    const filter = { family: length === 4 ? 'ip' : 'ip6', original: { protocol: UDP, ...one } } as const
    deleteConnections(socket, filter, connection => concerned.some(it => isTo(connection, it) && which(connection, it)))
  }
}

function isTo({ original }: Connection, { first, last, hostAddress }: ForwardedPorts): boolean {
  const { destination, destinationPort } = original
  if (destinationPort === undefined || destinationPort < first || destinationPort > last) return false
  return hostAddress === undefined || same(hostAddress, destination)
}
