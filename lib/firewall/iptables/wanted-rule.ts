/** Rules that are to be there, and what adds those that are not. */

import { formatAddress, type IpAddress } from '../../address/address.ts'
import { quoteWord, type SavedRule, type SavedTable } from './table.ts'

/** How a rule is found, and how it is added. */
export interface WantedRule {
  /** What follows "-A" or "-I". */
  readonly specification: string
  readonly matches: (rule: SavedRule) => boolean
  /** Before the chain's other rules, and not behind them. */
  readonly first?: boolean
}

/** The match that says nothing about packets. @throws CniError for a text that cannot be part of a rule */
export const commented = (text: string): string => `-m comment --comment ${quoteWord(text)}`

/** An address as iptables-save prints it. */
export const single = (address: IpAddress): string => `${formatAddress(address)}/${address.length * 8}`

/** Whether a rule of the chain has the target, whatever it is about. */
export const isJumpTo = (chain: string, target: string) => (rule: SavedRule) =>
  rule.chain === chain && rule.target === target

/** Those that are not there. */
export function missingRules(table: SavedTable, wanted: readonly WantedRule[]): WantedRule[] {
  return wanted.filter(({ matches }) => !table.rules.some(matches))
}

/** What adds those that are not there; of several that come first, the last does. */
export function missingLines(table: SavedTable, wanted: readonly WantedRule[]): string[] {
  return missingRules(table, wanted).map(({ specification, first }) => `${first ? '-I' : '-A'} ${specification}`)
}

/** What deletes those that are there. */
export function deletionLines(table: SavedTable, unwanted: readonly WantedRule[]): string[] {
  return unwanted.flatMap(({ matches }) => table.rules.filter(matches).map(rule => `-D ${rule.specification}`))
}

/** What makes the chains that are not there. Refused when another process was faster; ":chain" would empty what that has made. */
export function missingChainLines(table: SavedTable, chains: readonly string[]): string[] {
  return chains.filter(chain => !table.chains.includes(chain)).map(chain => `-N ${chain}`)
}
