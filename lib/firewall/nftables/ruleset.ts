/** Reading a table of cnikit's. Whatever is missing reads as empty. */

import type { Request } from '../../netlink/message.ts'
import { type ChainName, chainFormat, getChain, listChains } from '../../netlink/netfilter/chain.ts'
import {
  elementFormat,
  elementsOf,
  getElement,
  listElements,
  type SetElement,
} from '../../netlink/netfilter/element.ts'
import { expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import { listRules, ruleFormat } from '../../netlink/netfilter/rule.ts'
import { listSets, type SetName, setFormat } from '../../netlink/netfilter/set.ts'
import { createTable, getTable, type TableName, tableFormat } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { Errno } from '../../sys/errno.ts'
import { cnikitTable, masqueradeSetPrefix } from './layout.ts'
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
export function hasTable(socket: NetlinkSocket, table: TableName): boolean {
  return socket.get(tableFormat, getTable(table)) !== undefined
}

/** The names of all sets of the table. */
export function setNames(socket: NetlinkSocket, table: TableName): string[] {
  return orNone(() => socket.dump(setFormat, listSets(table))).map(answer => answer.attributes.name ?? '')
}

/** The names of all chains of the table. */
export function chainNames(socket: NetlinkSocket, { family, table }: TableName): string[] {
  return orNone(() => socket.dump(chainFormat, listChains(family)))
    .filter(answer => answer.attributes.table === table)
    .map(answer => answer.attributes.name ?? '')
}

/** The network's masquerade sets. */
export function masqueradeSets(socket: NetlinkSocket, network: string): SetName[] {
  const prefix = masqueradeSetPrefix(network)
  return setNames(socket, cnikitTable)
    .filter(set => set.startsWith(prefix))
    .map(set => ({ ...cnikitTable, set }))
}

/** All elements of a set. */
export function elementsOfSet(socket: NetlinkSocket, set: SetName): SetElement[] {
  return orNone(() => socket.dump(elementFormat, listElements(set))).flatMap(elementsOf)
}

/** The handles of the chain's rules that look into a set, by its name. */
export function rulesBySet(socket: NetlinkSocket, chain: ChainName): Map<string, bigint> {
  const handles = new Map<string, bigint>()
  for (const { attributes } of orNone(() => socket.dump(ruleFormat, listRules(chain)))) {
    for (const expression of attributes.expressions ?? []) {
      const set = expressionData('lookup', expression)?.set
      if (set !== undefined && attributes.handle !== undefined) handles.set(set, attributes.handle)
    }
  }
  return handles
}

/** The creation of the chain's table, and of the chain as `createChain` makes it, as far as they are missing. */
export function missingTableAndChain(
  socket: NetlinkSocket,
  name: ChainName,
  createChain: () => readonly Request[],
): Request[] {
  const table = socket.get(tableFormat, getTable(name))
  const chain = socket.get(chainFormat, getChain(name))
  return [
    ...(table === undefined ? [createTable(name, { exclusive: true })] : []),
    ...(chain === undefined ? createChain() : []),
  ]
}

/** Why an element does not do what it is there for, in words that end with its table; undefined when it does. */
export function elementFault(
  socket: NetlinkSocket,
  chain: ChainName,
  element: { readonly set: string; readonly key: Uint8Array; readonly comment: string },
): string | undefined {
  const answer = socket.get(elementFormat, getElement({ ...chain, set: element.set }, element.key))
  const [present] = answer === undefined ? [] : elementsOf(answer)
  const where = `in nftables table "${chain.family} ${chain.table}"`
  if (present === undefined) return `set "${element.set}" does not have it ${where}`
  if (present.comment !== element.comment) return `set "${element.set}" has it for "${present.comment ?? ''}" ${where}`
  if (!chainNames(socket, chain).includes(chain.chain)) return `there is no chain "${chain.chain}" ${where}`
  if (rulesBySet(socket, chain).has(element.set)) return undefined
  return `chain "${chain.chain}" has no rule for set "${element.set}" ${where}`
}
