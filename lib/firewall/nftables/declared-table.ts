/**
 * A table that is said as a whole, and kept as it is said: what differs is found by reading the kernel's, and only that
 * is changed. For state that one program owns, and can compute at any time.
 */

import type { Request } from '../../netlink/message.ts'
import { applyBatch } from '../../netlink/netfilter/batch.ts'
import { type BaseChain, createChain } from '../../netlink/netfilter/chain.ts'
import { createElements, deleteElements, type SetElement } from '../../netlink/netfilter/element.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import { createRule } from '../../netlink/netfilter/rule.ts'
import { createSet, type SetName, type SetType } from '../../netlink/netfilter/set.ts'
import { createTable, deleteTable, type TableName } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import { Errno } from '../../sys/errno.ts'
import { isSameStructure } from './declared-structure.ts'
import { elementsOfSet, hasTable, setNames } from './ruleset.ts'
import { isNetlinkError } from './transaction.ts'

export interface DeclaredSet {
  readonly set: string
  readonly type: SetType
  readonly elements: readonly SetElement[]
}

export interface DeclaredChain {
  readonly chain: string
  /** None for a chain that only rules lead to; it comes before them. */
  readonly base?: BaseChain
  readonly rules: readonly Expression[][]
}

/** Chains and rules are its structure; what changes often is elements. */
export interface DeclaredTable extends TableName {
  readonly sets: readonly DeclaredSet[]
  readonly chains: readonly DeclaredChain[]
}

/** What was done to make the table as declared. */
export interface TableChange {
  /** Whether the table was missing, or its chains, rules or sets were others, so that all of it was made anew. */
  readonly rebuilt: boolean
  /** Elements by the name of their set; one that leads elsewhere now is in both. */
  readonly added: ReadonlyMap<string, readonly SetElement[]>
  readonly removed: ReadonlyMap<string, readonly SetElement[]>
}

/** Whether anything was changed at all. */
export const hasChanged = ({ rebuilt, added, removed }: TableChange): boolean =>
  rebuilt || added.size + removed.size > 0

/** With the largest keys and values an element takes some 100 bytes, and an attribute holds 64 KiB. */
const ELEMENTS_IN_REQUEST = 500
/** How often it is begun again because somebody removed the table, or parts of it, meanwhile. */
const ATTEMPTS = 5

/**
 * Makes the kernel's table equal to the declared one, in one transaction; no change is sent where nothing differs.
 * @throws NetlinkError
 */
export function keepTable(socket: NetlinkSocket, table: DeclaredTable): TableChange {
  for (let attempt = 1; ; attempt++) {
    try {
      return keepOnce(socket, table)
    } catch (error) {
      const overtaken = isNetlinkError(error, Errno.ENOENT, Errno.EEXIST, Errno.EBUSY)
      if (!overtaken || attempt === ATTEMPTS) throw error
    }
  }
}

/** Removes the table and all that is in it. @returns whether there was one @throws NetlinkError */
export function removeTable(socket: NetlinkSocket, table: TableName): boolean {
  if (!hasTable(socket, table)) return false
  applyBatch(socket, [deleteTable(table)])
  return true
}

function keepOnce(socket: NetlinkSocket, table: DeclaredTable): TableChange {
  const exists = hasTable(socket, table)
  const present = new Map((exists ? setNames(socket, table) : []).map(set => [set, elementsOf(socket, table, set)]))
  const added = new Map<string, SetElement[]>()
  const removed = new Map<string, SetElement[]>()
  for (const { set, elements } of table.sets) {
    const difference = compare(present.get(set) ?? new Map(), elements)
    if (difference.added.length > 0) added.set(set, difference.added)
    if (difference.removed.length > 0) removed.set(set, difference.removed)
  }
  const rebuilt = !exists || !isSameStructure(socket, table)
  applyBatch(socket, rebuilt ? rebuild(table, exists) : elementChanges(table, added, removed))
  return { rebuilt, added, removed }
}

const textOf = (bytes: Uint8Array | undefined): string => (bytes === undefined ? '' : String.fromCharCode(...bytes))

/** What tells an element from others of its set. */
function identity({ key, keyEnd, intervalEnd }: SetElement): string {
  return `${textOf(key)}-${textOf(keyEnd)}${intervalEnd ? '!' : ''}`
}

function elementsOf(socket: NetlinkSocket, table: TableName, set: string): Map<string, SetElement> {
  const name: SetName = { family: table.family, table: table.table, set }
  return new Map(elementsOfSet(socket, name).map(element => [identity(element), element]))
}

function compare(
  present: ReadonlyMap<string, SetElement>,
  wanted: readonly SetElement[],
): { added: SetElement[]; removed: SetElement[] } {
  const missing = new Map(present)
  const added: SetElement[] = []
  const removed: SetElement[] = []
  for (const element of wanted) {
    const name = identity(element)
    const there = present.get(name)
    missing.delete(name)
    if (there !== undefined && textOf(there.value) === textOf(element.value)) continue
    if (there !== undefined) removed.push(there)
    added.push(element)
  }
  return { added, removed: [...removed, ...missing.values()] }
}

function inParts(elements: readonly SetElement[], make: (part: readonly SetElement[]) => Request): Request[] {
  const requests: Request[] = []
  for (let start = 0; start < elements.length; start += ELEMENTS_IN_REQUEST)
    requests.push(make(elements.slice(start, start + ELEMENTS_IN_REQUEST)))
  return requests
}

function elementChanges(
  { family, table }: TableName,
  added: ReadonlyMap<string, readonly SetElement[]>,
  removed: ReadonlyMap<string, readonly SetElement[]>,
): Request[] {
  const name = (set: string): SetName => ({ family, table, set })
  return [
    ...[...removed].flatMap(([set, elements]) => inParts(elements, part => deleteElements(name(set), part))),
    ...[...added].flatMap(([set, elements]) => inParts(elements, part => createElements(name(set), part))),
  ]
}

function rebuild({ family, table, sets, chains }: DeclaredTable, exists: boolean): Request[] {
  const name = { family, table }
  return [
    ...(exists ? [deleteTable(name)] : []),
    createTable(name, { exclusive: true }),
    ...sets.flatMap(({ set, type, elements }) => [
      createSet({ ...name, set }, type, { exclusive: true }),
      ...inParts(elements, part => createElements({ ...name, set }, part)),
    ]),
    ...chains.map(({ chain, base }) => createChain({ ...name, chain }, base, { exclusive: true })),
    ...chains.flatMap(({ chain, rules }) => rules.map(rule => createRule({ ...name, chain }, rule))),
  ]
}
