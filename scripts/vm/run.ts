/** Runs test files in guests, as many at once as there are processors. */

import { spawnSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { type Counts, TapCounts } from '../tap-counts.ts'
import { Guest } from './guest.ts'

/** For one file: emulated, a program starts about twenty times slower than on the host. */
const fileSeconds = 900

/** Why there can be no guest on this machine, or undefined. Installs what is missing. */
export function cannotPrepare(): string | undefined {
  const { status, stdout, stderr, error } = spawnSync('sh', ['scripts/setup.sh', 'vm'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (status === 0) {
    process.stdout.write(stdout)
    return undefined
  }
  return error?.message ?? `${stdout}${stderr}`.trim()
}

/** Runs compiled files in order, each in the first guest that is free, and shows what fails and how long each takes. */
export async function runInGuests(files: readonly string[]): Promise<Counts> {
  const total = { passed: 0, failed: 0, skipped: 0 }
  const waiting = [...files]
  let number = 0

  const work = async (): Promise<void> => {
    const guest = await Guest.boot()
    try {
      for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
        const started = Date.now()
        const { passed, failed, skipped } = await runFile(guest, file)
        total.passed += passed
        total.failed += failed
        total.skipped += skipped
        number++
        const seconds = ((Date.now() - started) / 1000).toFixed(1)
        console.log(`${failed > 0 ? 'not ok' : 'ok'} ${number} - ${file} on Linux ${guest.kernel} # time=${seconds}s`)
      }
    } finally {
      guest.end()
    }
  }

  const guests = Array.from({ length: Math.min(availableParallelism(), files.length) }, work)
  for (const { status, reason } of (await Promise.allSettled(guests)) as { status: string; reason?: Error }[]) {
    if (status === 'fulfilled') continue
    total.failed++
    console.log(`not ok - ${reason?.message}`)
  }
  if (waiting.length > 0) console.log(`not run: ${waiting.join(' ')}`)
  total.failed += waiting.length
  return total
}

async function runFile(guest: Guest, file: string): Promise<Counts> {
  const counter = new TapCounts()
  const shown: string[] = []
  const lines = guest.run(file, fileSeconds)
  let status: number | undefined
  while (status === undefined) {
    const next = await lines.next()
    if (next.done === true) status = next.value
    else shown.push(...counter.read(next.value))
  }
  shown.push(...counter.rest())
  const counts = counter.counts()
  // Of what passed, only what it skips; of what failed, everything.
  for (const line of shown) if (!/^ok /.test(line) || /# (SKIP|TODO)/i.test(line)) console.log(line)
  const broken = counts.failed === 0 && (status !== 0 || counts.passed === 0) ? 1 : 0
  if (broken > 0)
    console.log(`not ok - ${file} ended with status ${status}${status === 124 ? ': it took too long' : ''}`)
  return { ...counts, failed: counts.failed + broken }
}
