/** What is published, as the tables of nftables are made from it: one port each, with the replicas behind it. */

import { type IpAddress, parseAddress } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { ServiceMembership } from '../agent-protocol.ts'
import { formatPort, IpProtocol, portPairs } from './ports.ts'
import type { Affinity } from './slots.ts'

/** A replica on one of its ports. */
export interface Target {
  readonly address: IpAddress
  readonly port: number
}

/** A published port of a service. */
export interface PublishedPort {
  readonly service: string
  /** IPPROTO_* */
  readonly protocol: number
  readonly port: number
  readonly mode: 'mesh' | 'local'
  readonly affinity: Affinity
  /** Addresses of hosts on which alone it is published; none: all. */
  readonly hostAddresses: readonly IpAddress[]
  /** Those that take new connections, of both families. */
  readonly targets: readonly Target[]
}

/** A replica of services, as it was published. */
export interface Replica {
  /** For mode mesh: in the network. */
  readonly addresses: readonly IpAddress[]
  /** For mode local: on the gateway bridge of its host; none where it is on another host. */
  readonly localAddresses?: readonly IpAddress[]
  readonly services: readonly ServiceMembership[]
  /** It takes no new connections. */
  readonly draining?: boolean
}

/** What stands in the way of a published port. */
export interface PortConflict {
  readonly port: string
  /** Who has it. */
  readonly owner: string
  /** Who wants it too. */
  readonly other: string
}

interface Building extends PublishedPort {
  readonly hostAddresses: IpAddress[]
  readonly targets: Target[]
}

/**
 * The published ports of all replicas. A port belongs to one service: where replicas say otherwise, the service whose
 * name comes first in the alphabet keeps it, on every host alike, and the conflict is told.
 */
export function publishedPorts(replicas: readonly Replica[]): { ports: PublishedPort[]; conflicts: PortConflict[] } {
  const ports = new Map<string, Building>()
  const conflicts = new Map<string, PortConflict>()
  const memberships = replicas.flatMap(replica => replica.services.map(service => ({ replica, service })))
  // The first replica says how the service is published: always the same one.
  memberships.sort((a, b) => order(a.service.name, b.service.name) || order(keyOf(a.replica), keyOf(b.replica)))
  for (const { replica, service } of memberships) {
    for (const said of service.ports) {
      const addresses = replica.draining
        ? []
        : ((said.mode === 'local' ? replica.localAddresses : replica.addresses) ?? [])
      for (const { published, target } of portPairs(said)) {
        const key = `${said.protocol} ${published}`
        const known = ports.get(key)
        if (known !== undefined && known.service !== service.name) {
          conflicts.set(`${key} ${service.name}`, {
            port: formatPort({ published, protocol: said.protocol }),
            owner: known.service,
            other: service.name,
          })
          continue
        }
        const building = known ?? {
          service: service.name,
          protocol: IpProtocol[said.protocol],
          port: published,
          mode: said.mode,
          affinity: service.affinity,
          hostAddresses: (said.hostAddresses ?? []).map(parseAddress).filter(address => address !== undefined),
          targets: [],
        }
        if (known === undefined) ports.set(key, building)
        if (building.mode === said.mode) building.targets.push(...addresses.map(address => ({ address, port: target })))
      }
    }
  }
  return { ports: [...ports.values()], conflicts: [...conflicts.values()] }
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const keyOf = (replica: Replica): string => replica.addresses.map(String).join(' ')

/**
 * Refuses services of a new replica whose ports others have.
 * @param others services of all other replicas that publish in the mesh
 * @throws CniError code 104 naming the port and its service
 */
export function refuseTakenPorts(services: readonly ServiceMembership[], others: readonly ServiceMembership[]): void {
  const owners = new Map<string, string>()
  for (const { name, ports } of others) {
    for (const port of ports)
      for (const { published } of portPairs(port)) owners.set(`${port.protocol} ${published}`, name)
  }
  for (const { name, ports } of services) {
    for (const port of ports) {
      for (const { published } of portPairs(port)) {
        const owner = owners.get(`${port.protocol} ${published}`)
        if (owner === undefined || owner === name) continue
        throw new CniError(
          ErrorCode.conflict,
          `service "${name}" cannot publish port ${published}/${port.protocol}: service "${owner}" has published it`,
          'A published port belongs to one service in the whole cluster. Choose another port, or remove the other service.',
        )
      }
    }
  }
}
