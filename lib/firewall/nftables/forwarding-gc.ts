/** GC of forwarding: removes what no valid attachment needs, and puts back rules that someone removed. */

import type { Request } from '../../netlink/message.ts'
import { deleteElements } from '../../netlink/netfilter/element.ts'
import { expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import { deleteRule, listRules, ruleFormat } from '../../netlink/netfilter/rule.ts'
import { deleteSet } from '../../netlink/netfilter/set.ts'
import { deleteTable } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { sharedChanges } from './forwarding-ingress.ts'
import {
  ACCEPTED_SETS,
  acceptedSetPrefix,
  adminChain,
  firewallTable,
  forwardChain,
  ingressChain,
  ingressInterfaces,
  ingressSet,
  ingressWithin,
} from './forwarding-objects.ts'
import { createAcceptRules, missingRules, missingStructure } from './forwarding-structure.ts'
import { ownerComment } from './layout.ts'
import { chainNames, elementsOfSet, hasTable, setNames } from './ruleset.ts'
import { applyPlanned, ELEMENTS_IN_BATCH } from './transaction.ts'

/**
 * Removes the network's elements whose attachment is not valid, its sets when they are left without any, and with the
 * last set of all networks the table, unless the operator has put something into it.
 */
export function gcForwarding(
  socket: NetlinkSocket,
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
): void {
  const owners = new Set(valid.map(ownerComment))
  for (let complete = false; !complete; ) {
    applyPlanned(socket, `garbage collection of network "${network}"`, () => {
      if (!hasTable(socket, firewallTable)) {
        complete = true
        return []
      }
      const garbage = garbageOf(socket, network, owners)
      complete = garbage.complete
      return garbage.changes
    })
  }
}

/** `complete` is false when another batch is needed. */
function garbageOf(
  socket: NetlinkSocket,
  network: string,
  owners: ReadonlySet<string>,
): { changes: Request[]; complete: boolean } {
  const names = setNames(socket, firewallTable)
  const rules = acceptRules(socket)
  const prefix = acceptedSetPrefix(network)
  const remaining = new Set(names)
  const changes = chainNames(socket, firewallTable).includes(forwardChain.chain)
    ? missingRules(socket)
    : missingStructure(socket)
  let room = ELEMENTS_IN_BATCH
  let complete = true

  for (const name of names.filter(name => name.startsWith(prefix))) {
    const set = { ...firewallTable, set: name }
    const elements = elementsOfSet(socket, set)
    // Elements without a comment are an administrator's.
    const stale = elements.filter(({ comment }) => comment !== undefined && !owners.has(comment))
    const handles = rules.get(name) ?? []
    if (stale.length === elements.length) {
      changes.push(...handles.map(handle => deleteRule(forwardChain, handle)), deleteSet(set))
      remaining.delete(name)
      continue
    }
    const now = stale.slice(0, room)
    room -= now.length
    if (now.length > 0) changes.push(deleteElements(set, now))
    if (now.length < stale.length) complete = false
  }
  // Without valid attachments nobody wants anything of the network's interfaces any more.
  const wish = ingressSet(network)
  const unwanted = owners.size === 0 && remaining.delete(wish.set)
  if (isOver(socket, remaining)) return { changes: [deleteTable(firewallTable)], complete }

  if (unwanted) changes.push(deleteSet(wish))
  changes.push(...sharedChanges(socket, names, new Map(unwanted ? [[wish.set, []]] : [])))
  for (const name of remaining) {
    if (name.startsWith(ACCEPTED_SETS) && !rules.has(name))
      changes.push(...createAcceptRules({ ...firewallTable, set: name }))
  }
  return { changes, complete }
}

/** The handles of the rules about accepted addresses, by the name of the set. */
function acceptRules(socket: NetlinkSocket): Map<string, bigint[]> {
  const handles = new Map<string, bigint[]>()
  for (const { attributes } of socket.dump(ruleFormat, listRules(forwardChain))) {
    for (const expression of attributes.expressions ?? []) {
      const set = expressionData('lookup', expression)?.set
      if (set === undefined || attributes.handle === undefined) continue
      handles.set(set, [...(handles.get(set) ?? []), attributes.handle])
    }
  }
  return handles
}

/** Whether the table holds nothing but what is there whatever the networks, and the operator has no rules in it. */
function isOver(socket: NetlinkSocket, sets: ReadonlySet<string>): boolean {
  const shared: readonly string[] = [ingressInterfaces.set, ingressWithin.set]
  const own: readonly string[] = [adminChain, ingressChain, forwardChain].map(({ chain }) => chain)
  return (
    [...sets].every(name => shared.includes(name)) &&
    chainNames(socket, firewallTable).every(name => own.includes(name)) &&
    socket.dump(ruleFormat, listRules(adminChain)).length === 0
  )
}
