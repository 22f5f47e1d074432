/** Who else has a port that is wanted: those who live are told of, those who do not are removed. */

import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { Attachment } from '../attachment.ts'
import { isOfContainer, type Owner } from '../nftables/port-forwarding-owner.ts'
import { ownerInPortForwardingComment } from './names.ts'
import { type Block, blocksIn, portOf, portsOfEntry, replacementLines } from './port-forwarding-blocks.ts'
import { DNAT, type WantedPorts } from './port-forwarding-rules.ts'
import type { SavedRule, SavedTable } from './table.ts'

/**
 * What removes dead attachments from the ports. Rules of the Go plugin do not say whether their container lives: ours come
 * before them, as with that plugin.
 * @param isGone of an owner's network namespace; asked only when somebody else has a port
 * @throws CniError code 104 naming a living attachment that has one of the ports
 */
export function reclaimLines(
  table: SavedTable,
  attachment: Attachment,
  wanted: WantedPorts,
  isGone: (namespace: bigint) => boolean,
): string[] {
  const targets = wanted.rules.filter(rule => rule.target === 'DNAT')
  const ports = new Set(targets.map(portOf))
  const chains = new Set<string>()
  for (const entry of table.rules) {
    if (entry.chain !== DNAT || entry.target === undefined) continue
    if (portsOfEntry(entry).some(port => ports.has(port))) chains.add(entry.target)
  }
  const lines: string[] = []
  for (const chain of chains) {
    const dead = new Set<bigint>()
    for (const block of blocksIn(table, chain)) {
      // Runtimes give all networks of a container the same ports.
      if (block.owner === undefined || isOfContainer(block.owner, attachment)) continue
      const taken = block.rules.find(rule => targets.some(target => sharePort(rule, target)))
      if (taken === undefined) continue
      if (!isGone(block.owner.namespace)) throw portTaken(block.owner, taken)
      dead.add(block.owner.namespace)
    }
    const isDead = ({ owner }: Block) => owner !== undefined && dead.has(owner.namespace)
    if (dead.size > 0) lines.push(...replacementLines(table, { chain, rules: [], entries: [] }, isDead))
  }
  return lines
}

/** What puts the same ports of the container's other networks before those of this one, which came later. */
export function precedenceLines(
  table: SavedTable,
  { containerId }: Attachment,
  { chain, entries }: WantedPorts,
): string[] {
  const ports = new Set(entries.flatMap(portsOfEntry))
  return table.rules
    .filter(
      rule =>
        rule.chain === DNAT &&
        rule.target !== chain &&
        ownerInPortForwardingComment(rule.comment ?? '')?.containerId === containerId &&
        portsOfEntry(rule).some(port => ports.has(port)),
    )
    .flatMap(({ specification }) => [`-D ${specification}`, `-I ${specification}`])
}

/** Whether some packet is meant by both. */
function sharePort(one: SavedRule, other: SavedRule): boolean {
  if (one.target !== 'DNAT' || portOf(one) !== portOf(other)) return false
  return one.destination === undefined || other.destination === undefined || one.destination === other.destination
}

function portTaken({ containerId, ifname, network }: Owner, taken: SavedRule): CniError {
  const host = taken.destination === undefined ? 'every address' : taken.destination.split('/')[0]
  return new CniError(
    ErrorCode.conflict,
    `port ${taken.option('--dport')}/${taken.option('-p')} of ${host} of the host is taken by container "${containerId}" ` +
      `(interface "${ifname}", network "${network}"): it leads to ${taken.option('--to-destination')}`,
    'Use another host port, or a host address of its own for each, or remove that container.',
  )
}
