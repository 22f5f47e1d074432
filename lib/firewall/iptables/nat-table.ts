/** The nat table as iptables-save prints it and iptables-restore takes it. */

import type { Family } from '../../address/address.ts'
import { readFileIfExists } from '../../sys/file.ts'
import { findProgram, runProgram } from './program.ts'

export type Environment = Readonly<Record<string, string>>

/**
 * iptables exists twice: programs that keep the rules in nftables, and older ones with tables of their own. "default" is
 * what the host calls iptables.
 */
export type Variant = 'default' | 'legacy'

/** A rule, as far as the masquerade rules go. */
export interface SavedRule {
  /** The line without "-A": to be deleted with "-D". */
  readonly specification: string
  readonly chain: string
  /** With prefix length, as iptables-save prints it. */
  readonly source: string | undefined
  readonly destination: string | undefined
  readonly target: string | undefined
  readonly comment: string | undefined
}

export interface NatTable {
  readonly chains: readonly string[]
  readonly rules: readonly SavedRule[]
}

/** "iptables" or "ip6tables". */
export function programOf(family: Family): string {
  return family === 4 ? 'iptables' : 'ip6tables'
}

function programs(family: Family, variant: Variant, verb: 'save' | 'restore'): string[] {
  const name = programOf(family)
  return variant === 'default' ? [`${name}-${verb}`] : [`${name}-legacy-${verb}`, `${name}-${verb}`]
}

/** Reads the nat table. @throws CniError */
export function readNatTable(family: Family, variant: Variant, environment: Environment): NatTable {
  return parseNatTable(runProgram(programs(family, variant, 'save'), { arguments: ['-t', 'nat'], environment }))
}

/** Applies the lines to the nat table, all or none; other rules stay. @throws CniError */
export function changeNatTable(
  family: Family,
  variant: Variant,
  lines: readonly string[],
  environment: Environment,
): void {
  runProgram(programs(family, variant, 'restore'), {
    arguments: ['--noflush', '--wait=60'],
    input: `*nat\n${lines.join('\n')}\nCOMMIT\n`,
    environment,
  })
}

/** @throws CniError when a program is missing */
export function requirePrograms(environment: Environment): void {
  for (const family of [4, 6] as const) {
    for (const verb of ['save', 'restore'] as const) findProgram(programs(family, 'default', verb), environment)
  }
}

/** Whether the old iptables has a nat table in this network namespace: asking its program would make one. */
export function hasLegacyNatTable(family: Family): boolean {
  const tables = readFileIfExists(`/proc/thread-self/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`)
  return tables?.split('\n').includes('nat') ?? false
}

/** Reads the output of iptables-save. */
export function parseNatTable(text: string): NatTable {
  const chains: string[] = []
  const rules: SavedRule[] = []
  let table = ''
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1)
    if (table !== 'nat') continue
    if (line.startsWith(':')) chains.push(line.slice(1).split(' ')[0] ?? '')
    if (line.startsWith('-A ')) rules.push(parseRule(line.slice(3)))
  }
  return { chains, rules }
}

function parseRule(specification: string): SavedRule {
  const words = splitWords(specification)
  // An option after "!" means the contrary, and is not what is looked for here.
  const after = (option: string) => {
    const index = words.findIndex((word, position) => word === option && words[position - 1] !== '!')
    return index < 0 ? undefined : words[index + 1]
  }
  return {
    specification,
    chain: words[0] ?? '',
    source: after('-s'),
    destination: after('-d'),
    target: after('-j') ?? after('-g'),
    comment: after('--comment'),
  }
}

/** Splits at blanks, as iptables-restore does: double quotes hold blanks, a backslash within them takes the next as it is. */
function splitWords(line: string): string[] {
  return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"|[^\s"]+/g), match =>
    match[1] === undefined ? match[0] : match[1].replace(/\\(.)/g, '$1'),
  )
}

/** A word for iptables-restore. */
export function quoteWord(word: string): string {
  return `"${word.replace(/["\\]/g, '\\$&')}"`
}
