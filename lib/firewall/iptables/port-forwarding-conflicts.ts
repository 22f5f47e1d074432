/** Who else has a port that is wanted: those who live are told of, those who do not are removed. */

import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { PortForwarding } from '../port-forwarding-intent.ts'
import { ownerInPortForwardingComment } from './names.ts'
import { type Block, blocksIn, portOf, portsOfEntry, replacementLines } from './port-forwarding-blocks.ts'
import { DNAT, type WantedPorts } from './port-forwarding-rules.ts'
import type { SavedRule, SavedTable } from './table.ts'

/**
 * What removes dead attachments from the ports. Rules of the Go plugin do not say whether their container lives: ours come
 * before them, as with that plugin.
 * @param livingNamespaces asked only when somebody else has a port; undefined when it cannot be told
 * @throws CniError code 104 naming a living attachment that has one of the ports
 */
export function reclaimLines(
  table: SavedTable,
  forwarding: PortForwarding,
  wanted: WantedPorts,
  isOwn: (block: Block) => boolean,
  livingNamespaces: () => ReadonlySet<bigint> | undefined,
): string[] {
  const targets = wanted.rules.filter(rule => rule.target === 'DNAT')
  const ports = new Set(targets.map(portOf))
  const chains = new Map<string, SavedRule>()
  for (const entry of table.rules) {
    if (entry.chain !== DNAT || entry.target === undefined) continue
    if (portsOfEntry(entry).some(port => ports.has(port))) chains.set(entry.target, entry)
  }
  const lines: string[] = []
  let living: ReadonlySet<bigint> | undefined
  for (const [chain, entry] of chains) {
    const dead = new Set<bigint>()
    for (const block of blocksIn(table, chain)) {
      if (block.owner === undefined || (chain === wanted.chain && isOwn(block))) continue
      const taken = block.rules.find(rule => targets.some(target => sharePort(rule, target)))
      if (taken === undefined) continue
      const { namespace, ifname } = block.owner
      living ??= livingNamespaces()
      // The kernel gives a namespace's number to the next one: whoever asks now has it.
      const isDead = namespace === forwarding.namespace || living?.has(namespace) === false
      if (!isDead || chain === wanted.chain) throw portTaken(entry, ifname, taken)
      dead.add(namespace)
    }
    const isDead = ({ owner }: Block) => owner !== undefined && dead.has(owner.namespace)
    if (dead.size > 0) lines.push(...replacementLines(table, { chain, rules: [], entries: [] }, isDead))
  }
  return lines
}

/** Whether some packet is meant by both. */
function sharePort(one: SavedRule, other: SavedRule): boolean {
  if (one.target !== 'DNAT' || portOf(one) !== portOf(other)) return false
  return one.destination === undefined || other.destination === undefined || one.destination === other.destination
}

function portTaken(entry: SavedRule, ifname: string, taken: SavedRule): CniError {
  const owner = ownerInPortForwardingComment(entry.comment ?? '')
  const whose =
    owner === undefined
      ? `chain "${entry.target}"`
      : `container "${owner.containerId}" (interface "${ifname}", network "${owner.network}")`
  const host = taken.destination === undefined ? 'every address' : taken.destination.split('/')[0]
  return new CniError(
    ErrorCode.conflict,
    `port ${taken.option('--dport')}/${taken.option('-p')} of ${host} of the host is taken by ${whose}: it leads to ${taken.option('--to-destination')}`,
    'Use another host port, or a host address of its own for each, or remove that container.',
  )
}
