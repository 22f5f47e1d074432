/**
 * Runs compiled tests and ends with a line "N passed, N failed": on the host with tap, and on a second kernel.
 *
 * Usage: node dist/node/scripts/run-tests.js [--vm] [--all] [unit|netns|runtime|chaos|vm|path/to/x.test.ts]...
 *
 * When none is named, all suites run. `vm` is test/vm and, of test/netns, what scripts/vm/selection.ts names, on the second
 * kernel; with --all it is test/netns without what cannot keep its times there. With --vm, whatever is named runs there.
 */

import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { type Counts, TapCounts } from './tap-counts.ts'
import { cannotPrepare, runInGuests } from './vm/run.ts'
import { clusters, selected } from './vm/selection.ts'

const suites = ['unit', 'netns', 'runtime', 'chaos']

/** From the sources, so that what was compiled from a file that is gone does not run. */
function testFiles(names: readonly string[]): string[] {
  return names.flatMap(name => {
    const path = suites.includes(name) ? join('test', name) : name
    if (path.endsWith('.test.ts')) return [path]
    if (!existsSync(path)) throw new Error(`no such test or suite: ${name}`)
    return readdirSync(path, { recursive: true, encoding: 'utf8' })
      .filter(file => file.endsWith('.test.ts'))
      .map(file => join(path, file))
      .toSorted()
  })
}

/** Runs compiled files with tap. */
async function runOnHost(files: readonly string[]): Promise<Counts> {
  // It makes every Node process start slower, by more than a whole plugin takes.
  const { NODE_EXTRA_CA_CERTS: _, ...environment } = process.env
  const tap = spawn(
    'node_modules/.bin/tap',
    ['run', '--disable-coverage', '--allow-empty-coverage', '--jobs=2', '--timeout=300', '--reporter=tap', ...files],
    { stdio: ['ignore', 'pipe', 'inherit'], env: environment },
  )
  const counter = new TapCounts()
  const ended = new Promise<number>(resolve => tap.on('close', status => resolve(status ?? 1)))
  tap.on('error', error => console.error(`tap could not be run: ${error.message}`))
  for await (const line of createInterface({ input: tap.stdout }))
    for (const shown of counter.read(line)) console.log(shown)
  for (const line of counter.rest()) console.log(line)

  const status = await ended
  const counts = counter.counts()
  // A run that fails without a failed assertion, or without any assertion, has failed all the same.
  const broken = counts.failed === 0 && (status !== 0 || counts.passed === 0) ? 1 : 0
  return { ...counts, failed: counts.failed + broken }
}

/** Runs compiled files on the second kernel. A machine that cannot have one fails, unless its owner waives it. */
async function runOnSecondKernel(files: readonly string[]): Promise<Counts> {
  const obstacle = cannotPrepare()
  if (obstacle === undefined) return await runInGuests(files)
  const waived = process.env.CNIKIT_WITHOUT_VM === '1' && !process.env.CI
  console.log(`NOT TESTED ON THE SECOND KERNEL: ${files.length} test files did not run. ${obstacle}`)
  if (!waived) {
    console.log(
      'It needs Debian on amd64 with qemu and virtiofsd, and a kernel: "sh scripts/setup.sh vm" as root gets them.',
    )
    console.log('To be content with this kernel on a machine of your own, set CNIKIT_WITHOUT_VM=1; CI never is.')
  }
  return { passed: 0, failed: waived ? 0 : 1, skipped: waived ? files.length : 0 }
}

const { values: flags, positionals: named } = parseArgs({
  options: { vm: { type: 'boolean', default: false }, all: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const onlyOnSecondKernel = (name: string): boolean => flags.vm || name === 'vm' || name.startsWith('test/vm/')
const names = named.length > 0 ? named : [...suites.filter(suite => existsSync(join('test', suite))), 'vm']
const compiled = (file: string): string => join('dist/node', file.replace(/\.ts$/, '.js'))
const onHost = testFiles(names.filter(name => !onlyOnSecondKernel(name))).map(compiled)
const netns = flags.all ? testFiles(['netns']).filter(file => !clusters.includes(file)) : selected
const inGuests = testFiles(
  names.filter(onlyOnSecondKernel).flatMap(name => (name === 'vm' ? ['test/vm', ...netns] : [name])),
).map(compiled)

const runs: Counts[] = []
if (onHost.length > 0) runs.push(await runOnHost(onHost))
if (inGuests.length > 0) runs.push(await runOnSecondKernel(inGuests))
if (names.includes('vm')) {
  const left = testFiles(['netns']).filter(file => !netns.includes(file))
  const which = flags.all
    ? left.join(' ')
    : `"npm run test:vm" runs all but ${clusters.length} of them on the second too`
  console.log(`ON THE HOST'S KERNEL ONLY: ${left.length} files of test/netns; ${which}`)
}
const sum = (kind: keyof Counts): number => runs.reduce((total, counts) => total + counts[kind], 0)
if (sum('skipped') > 0) console.log(`${sum('skipped')} skipped`)
console.log(`${sum('passed')} passed, ${sum('failed')} failed`)
process.exitCode = sum('failed') === 0 && runs.length > 0 ? 0 : 1
