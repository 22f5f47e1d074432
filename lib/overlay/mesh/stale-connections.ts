/**
 * UDP connections that would go on as they began: a client that never pauses keeps the translation of its first packet,
 * to a replica that is gone, or to none because there was none yet. TCP notices by itself.
 */

import { formatAddress, type IpAddress } from '../../address/address.ts'
import type { TableChange } from '../../firewall/nftables/declared-table.ts'
import { deleteConnections, isTranslated, listConnections } from '../../netlink/netfilter/conntrack.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { IpProtocol } from './ports.ts'
import type { PublishedPort } from './published-port.ts'
import { families, lengthOf } from './rules.ts'

const udp = { protocol: IpProtocol.udp }

/** Forgets the connections to replicas that are gone. @returns how many */
export function forgetReplicas(socket: NetlinkSocket, gone: readonly IpAddress[]): number {
  let count = 0
  for (const source of gone) {
    const family = source.length === 4 ? 'ip' : 'ip6'
    count += deleteConnections(socket, { family, original: udp, reply: { source } })
  }
  return count
}

/** Forgets the connections to newly published ports that lead to nobody. @returns how many */
export function forgetUnanswered(socket: NetlinkSocket, ports: readonly number[]): number {
  let count = 0
  for (const destinationPort of ports) {
    for (const family of families) {
      const filter = { family, original: { ...udp, destinationPort } }
      count += deleteConnections(socket, filter, connection => !isTranslated(connection))
    }
  }
  return count
}

/**
 * Addresses of replicas that a change of the table has taken out of it, or that were known before.
 * @param kept replicas whose connections go on: those that drain, besides those in the table
 * @param before those that were kept until now: of one that has drained the table had nothing any more
 */
export function replicasGone(
  change: TableChange,
  kept: readonly IpAddress[],
  before: readonly IpAddress[] = [],
): IpAddress[] {
  const remaining = new Set(kept.map(formatAddress))
  const gone = new Map(
    before.filter(address => !remaining.has(formatAddress(address))).map(address => [formatAddress(address), address]),
  )
  for (const [set, elements] of change.removed) {
    const length = lengthOf(set.endsWith('6') ? 'ip6' : 'ip')
    for (const { value } of elements) {
      if (value === undefined) continue
      const address = Uint8Array.from(value.subarray(0, length))
      if (!remaining.has(formatAddress(address))) gone.set(formatAddress(address), address)
    }
  }
  return [...gone.values()]
}

/**
 * Addresses that translated UDP connections lead to, and which are no replica's: what was missed while nobody looked.
 * @param isReplicaPort whether a destination port, as it was sent, is one that is published here
 */
export function replicasMissed(
  socket: NetlinkSocket,
  known: readonly IpAddress[],
  isReplicaPort: (port: number) => boolean,
): IpAddress[] {
  const remaining = new Set(known.map(formatAddress))
  const gone = new Map<string, IpAddress>()
  for (const family of families) {
    for (const connection of listConnections(socket, { family, original: udp })) {
      const { source } = connection.reply
      if (source === undefined || !isTranslated(connection) || remaining.has(formatAddress(source))) continue
      if (isReplicaPort(connection.original.destinationPort ?? 0)) gone.set(formatAddress(source), source)
    }
  }
  return [...gone.values()]
}

/** The UDP ports that a change has added to a set of `protocol . port`. */
export function udpPortsAdded(change: TableChange, set: string): number[] {
  return (change.added.get(set) ?? [])
    .filter(({ key }) => key[0] === IpProtocol.udp)
    .map(({ key }) => ((key[4] ?? 0) << 8) | (key[5] ?? 0))
}

/** All addresses that ports lead to. */
export function targetAddresses(ports: readonly PublishedPort[]): IpAddress[] {
  return ports.flatMap(({ targets }) => targets.map(({ address }) => address))
}
