/** host-local in an empty pool and in one with 60,000 addresses taken. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { alternate, type Case, noSamples, type Row, type Samples, type Side, sides } from '../case.ts'
import type { Contender } from '../contender.ts'
import { type Attachment, attachmentOf } from './attachment.ts'

const taken = 60_000
const address = (number: number): string => `10.77.${number >> 8}.${number & 255}`

type Timings = Record<'add' | 'del', Samples>

/** Takes the first addresses of 10.77.0.0/16, in the format that both sides read. */
function fill(contender: Contender, network: string): void {
  const directory = join(contender.host.dataDirectory, network)
  mkdirSync(directory, { recursive: true })
  for (let number = 2; number < taken + 2; number++)
    writeFileSync(join(directory, address(number)), `container-${number}\r\neth0`)
}

/** Where the search for a free address goes on. */
function setCursor(contender: Contender, network: string, last: number): void {
  writeFileSync(join(contender.host.dataDirectory, network, 'last_reserved_ip.0'), address(last))
}

function pool(contender: Contender, name: string): Attachment {
  const config = {
    cniVersion: '1.0.0',
    name,
    type: 'bridge',
    ipam: { type: 'host-local', subnet: '10.77.0.0/16', dataDir: contender.host.dataDirectory },
  }
  return attachmentOf(contender, 'host-local', config, 'one')
}

const kinds = ['empty', 'full', 'behind'] as const
type Kind = (typeof kinds)[number]

export const hostLocal: Case = {
  name: 'host-local',
  run(contenders, runs) {
    const none = () => ({ add: noSamples(), del: noSamples() })
    const samples: Record<Kind, Timings> = { empty: none(), full: none(), behind: none() }
    const pools = Object.fromEntries(
      sides.map(side => {
        fill(contenders[side], 'full')
        const full = pool(contenders[side], 'full')
        return [side, { empty: pool(contenders[side], 'empty'), full, behind: full }]
      }),
    ) as unknown as Record<Side, Record<Kind, Attachment>>
    alternate(runs, side => {
      for (const kind of kinds) {
        if (kind !== 'empty') setCursor(contenders[side], 'full', kind === 'full' ? taken + 1 : 1)
        const timing = pools[side][kind].time()
        samples[kind].add[side].push(timing.add)
        samples[kind].del[side].push(timing.del)
      }
    })
    const { empty, full, behind } = samples
    const against = (what: string, verb: 'add' | 'del', kind: Timings): Row => ({
      what,
      unit: 'ms',
      go: [],
      ours: kind[verb].ours,
      base: { name: 'its own with none', samples: empty[verb].ours },
      target: 'at most 1.3',
    })
    return [
      { what: 'host-local ADD, no address taken', unit: 'ms', ...empty.add },
      { what: 'host-local ADD, 60,000 taken', unit: 'ms', ...full.add },
      { what: 'host-local ADD, 60,000 taken, the cursor before them', unit: 'ms', ...behind.add },
      { what: 'host-local DEL, no other address taken', unit: 'ms', ...empty.del },
      { what: 'host-local DEL, 60,000 taken', unit: 'ms', ...full.del },
      against('host-local ADD, 60,000 taken', 'add', full),
      against('host-local ADD, 60,000 taken, the cursor before them', 'add', behind),
      against('host-local DEL, 60,000 taken', 'del', full),
    ]
  },
}
