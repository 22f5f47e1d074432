/** GC: removes what no valid attachment needs, and puts back rules that someone removed. */

import { parsePrefix } from '../../address/prefix.ts'
import type { Request } from '../../netlink/message.ts'
import { deleteChain } from '../../netlink/netfilter/chain.ts'
import { deleteElements } from '../../netlink/netfilter/element.ts'
import { deleteRule } from '../../netlink/netfilter/rule.ts'
import { deleteSet } from '../../netlink/netfilter/set.ts'
import { deleteTable } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { foreignGarbage } from './foreign.ts'
import { cnikitTable, MASQUERADE_SETS, masqueradeChain, masqueradeSetPrefix, ownerComment } from './layout.ts'
import { createMasqueradeChain, createSubnetRule } from './masquerade-objects.ts'
import { chainNames, elementsOfSet, hasTable, rulesBySet, setNames } from './ruleset.ts'
import { applyPlanned, ELEMENTS_IN_BATCH } from './transaction.ts'

/**
 * Removes the network's elements whose attachment is not valid, subnets that are left without any, and the chain and
 * the table when they are left without any subnet.
 */
export function gcNftables(
  socket: NetlinkSocket,
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
): void {
  const owners = new Set(valid.map(ownerComment))
  for (let complete = false; !complete; ) {
    applyPlanned(socket, `garbage collection of network "${network}"`, () => {
      const own = ownGarbage(socket, network, owners)
      complete = own.complete
      return [...own.changes, ...foreignGarbage(socket, network, valid)]
    })
  }
}

/** `complete` is false when another batch is needed. */
function ownGarbage(
  socket: NetlinkSocket,
  network: string,
  owners: ReadonlySet<string>,
): { changes: Request[]; complete: boolean } {
  if (!hasTable(socket, cnikitTable)) return { changes: [], complete: true }
  const rules = rulesBySet(socket, masqueradeChain)
  const chains = chainNames(socket, cnikitTable)
  const names = setNames(socket, cnikitTable)
  const prefix = masqueradeSetPrefix(network)
  const changes: Request[] = []
  const remaining = new Set(names)
  let room = ELEMENTS_IN_BATCH
  let complete = true

  for (const name of names.filter(name => name.startsWith(prefix))) {
    const set = { ...cnikitTable, set: name }
    const elements = elementsOfSet(socket, set)
    // Elements without a comment are an administrator's.
    const stale = elements.filter(element => element.comment !== undefined && !owners.has(element.comment))
    const rule = rules.get(name)
    if (stale.length === elements.length) {
      if (rule !== undefined) changes.push(deleteRule(masqueradeChain, rule))
      changes.push(deleteSet(set))
      remaining.delete(name)
      continue
    }
    const now = stale.slice(0, room)
    room -= now.length
    if (now.length > 0) changes.push(deleteElements(set, now))
    if (now.length < stale.length) complete = false
    const subnet = parsePrefix(name.slice(prefix.length).replaceAll('-', ':'))
    if (rule === undefined && subnet !== undefined) {
      if (!chains.includes(masqueradeChain.chain)) {
        changes.push(...createMasqueradeChain())
        chains.push(masqueradeChain.chain)
      }
      changes.push(createSubnetRule(network, subnet))
    }
  }

  if ([...remaining].some(name => name.startsWith(MASQUERADE_SETS))) return { changes, complete }
  if (remaining.size === 0 && chains.every(name => name === masqueradeChain.chain)) {
    return { changes: [deleteTable(cnikitTable)], complete }
  }
  if (chains.includes(masqueradeChain.chain)) changes.push(deleteChain(masqueradeChain))
  return { changes, complete }
}
