/** Whether the kernel's table has the chains, rules and sets that a declared one has, and no others. */

import { type ChainValues, chainFormat, getChain, Hook, listChains, Policy } from '../../netlink/netfilter/chain.ts'
import { type Expression, expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import { listRules, ruleFormat } from '../../netlink/netfilter/rule.ts'
import { listSets, setFormat, setValues } from '../../netlink/netfilter/set.ts'
import type { TableName } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import type { DeclaredChain, DeclaredTable } from './declared-table.ts'

/** Chains first: a firewall reload that flushed everything shows there. @throws NetlinkError */
export function isSameStructure(socket: NetlinkSocket, table: DeclaredTable): boolean {
  return (
    hasChains(socket, table) && hasSets(socket, table) && table.chains.every(chain => hasRules(socket, table, chain))
  )
}

/** Whether the table has the chain with its rules, and no others in it. */
export function hasChain(socket: NetlinkSocket, name: TableName, declared: DeclaredChain): boolean {
  const found = socket.get(chainFormat, getChain({ ...name, chain: declared.chain }))?.attributes
  return isChain(found, declared) && hasRules(socket, name, declared)
}

function hasChains(socket: NetlinkSocket, { family, table, chains }: DeclaredTable): boolean {
  const present = socket.dump(chainFormat, listChains(family)).filter(({ attributes }) => attributes.table === table)
  if (present.length !== chains.length) return false
  return chains.every(declared =>
    isChain(present.find(({ attributes }) => attributes.name === declared.chain)?.attributes, declared),
  )
}

function isChain(found: ChainValues | undefined, { base }: DeclaredChain): boolean {
  if (found === undefined) return false
  if (base === undefined) return found.hook === undefined
  return (
    found.type === base.type &&
    found.hook?.hooknum === Hook[base.hook] &&
    found.hook.priority === base.priority &&
    found.policy === Policy[base.policy ?? 'accept']
  )
}

function hasSets(socket: NetlinkSocket, { family, table, sets }: DeclaredTable): boolean {
  const present = socket.dump(setFormat, listSets({ family, table }))
  if (present.length !== sets.length) return false
  return sets.every(({ set, type }) => {
    const found = present.find(({ attributes }) => attributes.name === set)?.attributes
    // The kernel leaves flags out where there are none.
    return found !== undefined && includes({ flags: 0, ...found }, setValues(type))
  })
}

function hasRules(socket: NetlinkSocket, { family, table }: TableName, { chain, rules }: DeclaredChain): boolean {
  const present = socket.dump(ruleFormat, listRules({ family, table, chain }))
  return (
    present.length === rules.length &&
    rules.every((rule, index) => isRule(present[index]?.attributes.expressions, rule))
  )
}

/**
 * Loading what it has printed, nft turns round the order of bytes of protocols that are looked up in sets of ranges, which
 * have only one.
 */
const doesNothing = (expression: Expression): boolean => expressionData('byteorder', expression)?.len === 1

function isRule(found: readonly Expression[] | undefined, wanted: readonly Expression[]): boolean {
  const present = found?.filter(expression => !doesNothing(expression))
  return present?.length === wanted.length && wanted.every((expression, index) => includes(present[index], expression))
}

/** Whether everything that was said is there with its value. The kernel adds what was left out: flags, defaults. */
function includes(present: unknown, wanted: unknown): boolean {
  if (wanted === undefined) return true
  if (wanted instanceof Uint8Array)
    return (
      present instanceof Uint8Array &&
      present.length === wanted.length &&
      wanted.every((byte, at) => byte === present[at])
    )
  if (typeof wanted !== 'object' || wanted === null) return present === wanted
  if (typeof present !== 'object' || present === null) return false
  const there = present as Readonly<Record<string, unknown>>
  return Object.entries(wanted).every(([name, value]) => includes(there[name], value))
}
