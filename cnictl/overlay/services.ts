/** `cnictl overlay services`: published ports, their replicas, and what of them this host has. */

import type { ServicePort, ServiceReplica } from '../../lib/overlay/agent-protocol.ts'
import { portPairs } from '../../lib/overlay/mesh/ports.ts'
import type { Command } from '../command.ts'
import { paragraphs, table } from '../render/table.ts'
import { findingLines, hasError } from './finding.ts'
import { formatTarget, type LocalServices } from './local-services.ts'
import { overlayOptions, readSources } from './options.ts'
import { type KnownServices, surveyServices } from './survey-services.ts'

export const services: Command = {
  name: 'services',
  summary: 'list published ports, their replicas, and the slots that this host has for them',
  description:
    'Asks the agent for the services of the cluster, and reads from nftables which ports this host answers at and how ' +
    'many slots of each lead to which replica: new connections are shared out in their proportion. Exit code 1 when ' +
    'the two differ, or the agent does not answer.',
  arguments: [],
  options: overlayOptions,
  examples: [
    { line: 'cnictl overlay services', does: 'list them' },
    {
      line: "cnictl overlay services --json | jq '.replicas[] | select(.slots == 0)'",
      does: 'replicas that get no new connections here',
    },
  ],
  run: async (input, context) => {
    const { socket } = readSources(input, context)
    const { present, known, findings } = await surveyServices(socket)
    const rows = known === undefined ? unknownRows(present) : replicaRows(known, present)
    const virtual = known === undefined ? [] : virtualAddresses(known.services.replicas)
    return {
      document: { replicas: rows, virtualAddresses: virtual, findings },
      text: paragraphs(
        rows.length === 0 ? ['no service publishes a port'] : table(columns, rows.map(shown)),
        table(['virtual address', 'service', 'network', 'replicas'], virtual.map(shownVirtual)),
        findingLines(findings),
      ),
      failed: hasError(findings),
    }
  },
}

/** A replica at one of its published ports. */
interface ReplicaRow {
  /** "8080/tcp" */
  readonly port: string
  readonly service?: string
  readonly mode?: 'mesh' | 'local'
  /** What connections are led to. */
  readonly replica: string
  readonly node?: string
  readonly container?: string
  /** Of the port's slots on this host. */
  readonly slots: number
  readonly of: number
  readonly state: 'serving' | 'draining' | 'node away' | 'on its host' | 'no slots' | 'unknown'
}

function replicaRows({ services: answer, node }: KnownServices, present: LocalServices): ReplicaRow[] {
  const rows = answer.replicas.flatMap(replica =>
    replica.services.flatMap(({ name, ports }) =>
      ports.flatMap(port => rowsOfPort(replica, name, port, node, present)),
    ),
  )
  const isIpv6 = ({ replica }: ReplicaRow) => Number(replica.startsWith('['))
  return rows.sort((a, b) => order(a.port, b.port) || isIpv6(a) - isIpv6(b) || order(a.replica, b.replica))
}

const collator = new Intl.Collator('en', { numeric: true })
const order = (a: string, b: string): number => collator.compare(a, b)

function rowsOfPort(
  replica: ServiceReplica,
  service: string,
  port: ServicePort,
  node: string,
  present: LocalServices,
): ReplicaRow[] {
  const isElsewhere = port.mode === 'local' && replica.node !== node
  const addresses = port.mode === 'local' ? replica.gatewayAddresses : replica.addresses
  return portPairs(port).flatMap(({ published, target }) => {
    const name = `${published}/${port.protocol}`
    const all = present[port.mode].get(name) ?? new Map<string, number>()
    return addresses.map((address): ReplicaRow => {
      const leads = formatTarget(address, target)
      const slots = isElsewhere ? 0 : (all.get(leads) ?? 0)
      return {
        port: name,
        service,
        mode: port.mode,
        replica: leads,
        node: replica.node,
        container: replica.containerId,
        slots,
        of: sumOfFamily(all, address.includes(':')),
        state: stateOf(replica, slots, isElsewhere),
      }
    })
  })
}

function sumOfFamily(slots: ReadonlyMap<string, number>, isIpv6: boolean): number {
  let sum = 0
  for (const [target, count] of slots) if (target.startsWith('[') === isIpv6) sum += count
  return sum
}

function stateOf({ draining, alive }: ServiceReplica, slots: number, isElsewhere: boolean): ReplicaRow['state'] {
  if (draining) return 'draining'
  if (!alive) return 'node away'
  if (isElsewhere) return 'on its host'
  return slots > 0 ? 'serving' : 'no slots'
}

/** What the kernel has, when nobody says whose it is. */
function unknownRows({ mesh, local }: LocalServices): ReplicaRow[] {
  const rowsOf = (mode: 'mesh' | 'local', ports: LocalServices['mesh']) =>
    [...ports].flatMap(([port, slots]) =>
      [...slots].map(([replica, count]): ReplicaRow => {
        const of = sumOfFamily(slots, replica.startsWith('['))
        return { port, mode, replica, slots: count, of, state: 'unknown' }
      }),
    )
  return [...rowsOf('mesh', mesh), ...rowsOf('local', local)]
}

const columns = ['port', 'service', 'mode', 'replica', 'node', 'container', 'slots', 'state']

function shown({ slots, of, ...row }: ReplicaRow) {
  return { ...row, slots: `${slots}/${of}` }
}

interface VirtualAddress {
  readonly address: string
  readonly service: string
  readonly network: string
  readonly replicas: readonly string[]
}

function virtualAddresses(replicas: readonly ServiceReplica[]): VirtualAddress[] {
  const found = new Map<string, VirtualAddress & { replicas: string[] }>()
  for (const { network, services: own, addresses } of replicas) {
    for (const { name: service, virtualAddress: address } of own) {
      if (address === undefined) continue
      const key = `${network} ${address}`
      const known = found.get(key) ?? { address, service, network, replicas: [] }
      known.replicas.push(...addresses.filter(one => one.includes(':') === address.includes(':')))
      found.set(key, known)
    }
  }
  return [...found.values()]
}

const shownVirtual = ({ address, service, network, replicas }: VirtualAddress) => ({
  'virtual address': address,
  service,
  network,
  replicas: replicas.join(' '),
})
