/** GC: removes what no valid attachment needs, and puts back chains and rules that someone removed. */

import type { Request } from '../../netlink/message.ts'
import { deleteChain } from '../../netlink/netfilter/chain.ts'
import { deleteElements } from '../../netlink/netfilter/element.ts'
import { deleteRule } from '../../netlink/netfilter/rule.ts'
import { deleteSet } from '../../netlink/netfilter/set.ts'
import { deleteTable } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { Attachment } from '../attachment.ts'
import { attachmentWords, networkPrefix } from './layout.ts'
import { allHoldings } from './port-forwarding-delete.ts'
import type { Forwarded } from './port-forwarding-elements.ts'
import { perMap } from './port-forwarding-holders.ts'
import { fixedChains, portMaps, portmapTable, postroutingChain } from './port-forwarding-objects.ts'
import { createSourceRule, isSourceSet } from './port-forwarding-sources.ts'
import { chainRepairs } from './port-forwarding-structure.ts'
import { isWaitingMap, waitingChanges, waitingHoldings } from './port-forwarding-waiting.ts'
import { chainNames, elementsOfSet, hasTable, rulesBySet, setNames } from './ruleset.ts'
import { applyPlanned, ELEMENTS_IN_BATCH } from './transaction.ts'

/**
 * Removes the network's elements whose attachment is not valid, its sets that are left without any, and the table when
 * nothing is left in it.
 * @returns what was forwarded
 */
export function gcNftables(
  socket: NetlinkSocket,
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
): Forwarded[] {
  const prefix = networkPrefix(network)
  const owners = new Set(valid.map(({ containerId, ifname }) => attachmentWords({ network, containerId, ifname })))
  const isStale = ({ comment }: { comment?: string }) =>
    comment?.startsWith(prefix) === true && !owners.has(comment.slice(0, comment.lastIndexOf(' ')))
  const forgotten: Forwarded[] = []
  for (let complete = false; !complete; ) {
    let forwarded: (Forwarded | undefined)[] = []
    applyPlanned(socket, `garbage collection of network "${network}"`, () => {
      complete = true
      forwarded = []
      if (!hasTable(socket, portmapTable)) return []
      const holdings = allHoldings(socket)
      const stale = holdings.filter(({ element }) => isStale(element))
      const now = stale.slice(0, ELEMENTS_IN_BATCH)
      forwarded = now.map(holding => holding.forwarded)
      complete = now.length === stale.length
      const names = setNames(socket, portmapTable)
      const waiting = waitingHoldings(socket, names)
      const sources = sourceGarbage(socket, names, network, isStale)
      const isEmpty = stale.length === holdings.length && complete && sources.remaining === 0
      if (isEmpty && waiting.every(({ element }) => isStale(element))) return deletions(socket, names)
      return [
        ...perMap(now, deleteElements),
        ...waitingChanges(waiting, ({ element }) => isStale(element), now),
        ...chainRepairs(socket),
        ...sources.changes,
      ]
    })
    forgotten.push(...forwarded.filter(one => one !== undefined))
  }
  return forgotten
}

/** What goes of the network's sets, and how many of any network's stay. */
function sourceGarbage(
  socket: NetlinkSocket,
  names: readonly string[],
  network: string,
  isStale: (element: { comment?: string }) => boolean,
): { changes: Request[]; remaining: number } {
  const rules = rulesBySet(socket, postroutingChain)
  const changes: Request[] = []
  let remaining = 0
  for (const name of names.filter(name => isSourceSet(name))) {
    remaining++
    if (!isSourceSet(name, network)) continue
    const set = { ...portmapTable, set: name }
    const rule = rules.get(name)
    const elements = elementsOfSet(socket, set)
    const stale = elements.filter(isStale)
    if (stale.length === elements.length) {
      remaining--
      if (rule !== undefined) changes.push(deleteRule(postroutingChain, rule))
      changes.push(deleteSet(set))
      continue
    }
    if (stale.length > 0) changes.push(deleteElements(set, stale))
    if (rule === undefined) changes.push(...createSourceRule(network, set))
  }
  return { changes, remaining }
}

/** The table, or only what is ours of it when an administrator has put something in. */
function deletions(socket: NetlinkSocket, sets: readonly string[]): Request[] {
  const chains = chainNames(socket, portmapTable)
  const ownChains = [...fixedChains().map(({ chain }) => chain), postroutingChain.chain].reverse()
  const ownSets = sets.filter(
    name => isSourceSet(name) || isWaitingMap(name) || portMaps.some(({ set }) => set === name),
  )
  if (chains.every(name => ownChains.includes(name)) && ownSets.length === sets.length)
    return [deleteTable(portmapTable)]
  return [
    ...ownChains.filter(name => chains.includes(name)).map(chain => deleteChain({ ...portmapTable, chain })),
    ...ownSets.map(set => deleteSet({ ...portmapTable, set })),
  ]
}
