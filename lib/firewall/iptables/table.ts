/** A table of iptables, as iptables-save prints it and iptables-restore takes it. */

import type { Family } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import { readFileIfExists } from '../../sys/file.ts'
import { findProgram, findProgramIfInstalled, runProgram } from './program.ts'

export type Environment = Readonly<Record<string, string>>

export type TableName = 'nat' | 'filter' | 'raw'

/**
 * iptables exists twice: programs that keep the rules in nftables, and older ones with tables of their own. "default" is
 * what the host calls iptables.
 */
export type Variant = 'default' | 'nft' | 'legacy'

/** A table of one family, kept by one variant of iptables. */
export interface TablePlace {
  readonly table: TableName
  readonly family: Family
  readonly variant: Variant
}

/** A rule, taken apart only when somebody asks: most of a large table's rules are others'. */
export class SavedRule {
  /** The line without "-A": to be deleted with "-D". */
  readonly specification: string
  readonly chain: string
  #words: readonly string[] | undefined

  constructor(specification: string) {
    this.specification = specification
    const end = specification.indexOf(' ')
    this.chain = end < 0 ? specification : specification.slice(0, end)
  }

  get words(): readonly string[] {
    this.#words ??= splitWords(this.specification)
    return this.#words
  }

  /** The value of an option. One after "!" means the contrary, and is not what is looked for. */
  option(name: string): string | undefined {
    const index = this.words.findIndex((word, position) => word === name && this.words[position - 1] !== '!')
    return index < 0 ? undefined : this.words[index + 1]
  }

  /** With prefix length, as iptables-save prints it. */
  get source(): string | undefined {
    return this.option('-s')
  }

  get destination(): string | undefined {
    return this.option('-d')
  }

  get target(): string | undefined {
    return this.option('-j') ?? this.option('-g')
  }

  get comment(): string | undefined {
    return this.option('--comment')
  }
}

export interface SavedTable {
  readonly chains: readonly string[]
  readonly rules: readonly SavedRule[]
}

/** A table that nobody has made yet. */
export const emptyTable: SavedTable = { chains: [], rules: [] }

/** How often a change is planned again because the table had changed before it was applied. */
const ATTEMPTS = 5

/** "iptables" or "ip6tables". */
export function programOf(family: Family): string {
  return family === 4 ? 'iptables' : 'ip6tables'
}

function programs(family: Family, variant: Variant, verb: 'save' | 'restore'): string[] {
  const name = programOf(family)
  return variant === 'default' ? [`${name}-${verb}`] : [`${name}-${variant}-${verb}`, `${name}-${verb}`]
}

/** Reads a table. @throws CniError */
export function readTable({ table, family, variant }: TablePlace, environment: Environment): SavedTable {
  return parseTable(table, runProgram(programs(family, variant, 'save'), { arguments: ['-t', table], environment }))
}

/** Applies the lines to a table, all or none; other rules stay. @throws CniError */
export function changeTable(
  { table, family, variant }: TablePlace,
  lines: readonly string[],
  environment: Environment,
): void {
  runProgram(programs(family, variant, 'restore'), {
    arguments: ['--noflush', '--wait=60'],
    input: `*${table}\n${lines.join('\n')}\nCOMMIT\n`,
    environment,
  })
}

/**
 * Applies the lines that `plan` derives from the table. Where that fails, because others changed what it has read, it is
 * read and planned again.
 * @param known the table where nobody needs to read it for that: {@link emptyTable}, when it has none of the chains
 * @returns whether anything had to be changed
 * @throws CniError
 */
export function changePlanned(
  place: TablePlace,
  environment: Environment,
  plan: (table: SavedTable) => readonly string[],
  known?: SavedTable,
): boolean {
  let table = known
  for (let attempt = 1; ; attempt++) {
    const lines = plan(table ?? readTable(place, environment))
    table = undefined
    if (lines.length === 0) return false
    try {
      changeTable(place, lines, environment)
      return true
    } catch (error) {
      if (attempt === ATTEMPTS) throw error
    }
  }
}

/** @throws CniError when a program is missing */
export function requirePrograms(environment: Environment): void {
  for (const family of [4, 6] as const) {
    for (const verb of ['save', 'restore'] as const) findProgram(programs(family, 'default', verb), environment)
  }
}

/** Whether the old iptables has the table in this network namespace: asking its program would make one. */
export function hasLegacyTable(table: TableName, family: Family): boolean {
  const tables = readFileIfExists(`/proc/thread-self/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`)
  return tables?.split('\n').includes(table) ?? false
}

/** The old iptables' table; undefined where there is none, or no program that could have put anything of ours into it. */
export function findLegacyTable(table: TableName, family: Family, environment: Environment): TablePlace | undefined {
  const exists = hasLegacyTable(table, family)
  if (!exists || findProgramIfInstalled(programs(family, 'legacy', 'save'), environment) === undefined) return undefined
  return { table, family, variant: 'legacy' }
}

/** Reads a table in the output of iptables-save. */
export function parseTable(name: TableName, text: string): SavedTable {
  const chains: string[] = []
  const rules: SavedRule[] = []
  let table = ''
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1)
    if (table !== name) continue
    if (line.startsWith(':')) chains.push(line.slice(1).split(' ')[0] ?? '')
    if (line.startsWith('-A ')) rules.push(new SavedRule(line.slice(3)))
  }
  return { chains, rules }
}

/** Splits at blanks, as iptables-restore does: double quotes hold blanks, a backslash within them takes the next as it is. */
function splitWords(line: string): string[] {
  return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"|[^\s"]+/g), match =>
    match[1] === undefined ? match[0] : match[1].replace(/\\(.)/g, '$1'),
  )
}

/** A word for iptables-restore. @throws CniError for one that would end the line */
export function quoteWord(word: string): string {
  if (/[\n\r\0]/.test(word)) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `${JSON.stringify(word)} cannot be part of an iptables rule`,
      'Remove the line break from the network configuration.',
    )
  }
  return `"${word.replace(/["\\]/g, '\\$&')}"`
}
