/** Reading cnikit's table. Whatever is missing reads as empty. */

import { chainFormat, listChains } from '../../netlink/netfilter/chain.ts'
import { elementFormat, elementsOf, listElements, type SetElement } from '../../netlink/netfilter/element.ts'
import { expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import { listRules, ruleFormat } from '../../netlink/netfilter/rule.ts'
import { listSets, type SetName, setFormat } from '../../netlink/netfilter/set.ts'
import { getTable, tableFormat } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { Errno } from '../../sys/errno.ts'
import { cnikitTable, masqueradeChain, masqueradeSetPrefix } from './layout.ts'
import { isNetlinkError } from './transaction.ts'

function orNone<T>(read: () => T[]): T[] {
  try {
    return read()
  } catch (error) {
    if (isNetlinkError(error, Errno.ENOENT)) return []
    throw error
  }
}

/** Whether the table is there. */
export function hasTable(socket: NetlinkSocket): boolean {
  return socket.get(tableFormat, getTable(cnikitTable)) !== undefined
}

/** The names of all sets of the table. */
export function setNames(socket: NetlinkSocket): string[] {
  return orNone(() => socket.dump(setFormat, listSets(cnikitTable))).map(answer => answer.attributes.name ?? '')
}

/** The names of all chains of the table. */
export function chainNames(socket: NetlinkSocket): string[] {
  return orNone(() => socket.dump(chainFormat, listChains(cnikitTable.family)))
    .filter(answer => answer.attributes.table === cnikitTable.table)
    .map(answer => answer.attributes.name ?? '')
}

/** The network's masquerade sets. */
export function masqueradeSets(socket: NetlinkSocket, network: string): SetName[] {
  const prefix = masqueradeSetPrefix(network)
  return setNames(socket)
    .filter(set => set.startsWith(prefix))
    .map(set => ({ ...cnikitTable, set }))
}

/** All elements of a set. */
export function elementsOfSet(socket: NetlinkSocket, set: SetName): SetElement[] {
  return orNone(() => socket.dump(elementFormat, listElements(set))).flatMap(elementsOf)
}

/** The handles of the masquerading rules, by the set that each looks into. */
export function masqueradeRules(socket: NetlinkSocket): Map<string, bigint> {
  const handles = new Map<string, bigint>()
  for (const { attributes } of orNone(() => socket.dump(ruleFormat, listRules(masqueradeChain)))) {
    for (const expression of attributes.expressions ?? []) {
      const set = expressionData('lookup', expression)?.set
      if (set !== undefined && attributes.handle !== undefined) handles.set(set, attributes.handle)
    }
  }
  return handles
}
