/** What a case of the benchmark is, and how its samples are taken. */

import type { Contender } from './contender.ts'
import { median, medianOfRatios } from './statistics.ts'

export type Side = 'go' | 'ours'
export type Samples = Record<Side, number[]>
export type Contenders = Readonly<Record<Side, Contender>>

export interface Row {
  readonly what: string
  readonly unit: 'ms' | 'µs' | 'per s' | 'Gbit/s' | 'MiB' | 'rows'
  readonly go: readonly number[]
  readonly ours: readonly number[]
  /** What the ratio shall be, as "at most 0.5"; absent when there is nothing to reach. */
  readonly target?: string
  /** What `ours` is compared with, when it is not the Go plugin. */
  readonly base?: { readonly name: string; readonly samples: readonly number[] }
}

export interface Case {
  /** For --filter. */
  readonly name: string
  /** @param runs how many samples of each side */
  run(contenders: Contenders, runs: number): Row[] | Promise<Row[]>
}

export const sides: readonly Side[] = ['go', 'ours']

/** Takes turns, beginning with another side each round, so that no side always comes after the other. */
export function alternate(rounds: number, take: (side: Side, round: number) => void): void {
  for (let round = 0; round < rounds; round++)
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) take(side, round)
}

export const noSamples = (): Samples => ({ go: [], ours: [] })

const digits = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
const best = (row: Row, samples: readonly number[]): number =>
  row.unit === 'per s' || row.unit === 'Gbit/s' ? Math.max(...samples) : Math.min(...samples)
const cell = (row: Row, samples: readonly number[]): string =>
  samples.length === 0 ? '' : `${digits(median(samples))} (${digits(best(row, samples))})`

/** A Markdown table: medians with the best sample in brackets, and both ratios. */
export function table(rows: readonly Row[]): string {
  const lines = rows.map(row => {
    const base = row.base?.samples ?? row.go
    const comparison = base.length === 0 ? '' : digits(median(row.ours) / median(base))
    const inPairs = base.length === row.ours.length ? digits(medianOfRatios(row.ours, base)) : ''
    const what = `${row.what}, ${row.unit}${row.base === undefined ? '' : `, ratio to ${row.base.name}`}`
    return [what, cell(row, row.go), cell(row, row.ours), comparison, inPairs, row.target ?? '']
  })
  const head = ['', 'Go plugins', 'cnikit', 'ratio of medians', 'median of ratios', 'target']
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'))
  return [head, rule, ...lines].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}
