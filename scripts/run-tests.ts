/**
 * Runs compiled tests with tap and ends with a line "N passed, N failed".
 *
 * Usage: node dist/node/scripts/run-tests.js [unit|netns|runtime|path/to/x.test.ts]...   (all, when none is named)
 */

import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { TapCounts } from './tap-counts.ts'

const suites = ['unit', 'netns', 'runtime']

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

const named = process.argv.slice(2)
const files = testFiles(named.length > 0 ? named : suites.filter(suite => existsSync(join('test', suite))))
const compiled = files.map(file => join('dist/node', file.replace(/\.ts$/, '.js')))
// It makes every Node process start slower, by more than a whole plugin takes.
const { NODE_EXTRA_CA_CERTS: _, ...environment } = process.env
const tap = spawn(
  'node_modules/.bin/tap',
  ['run', '--disable-coverage', '--allow-empty-coverage', '--jobs=2', '--timeout=300', '--reporter=tap', ...compiled],
  { stdio: ['ignore', 'pipe', 'inherit'], env: environment },
)

const counter = new TapCounts()
const ended = new Promise<number>(resolve => tap.on('close', status => resolve(status ?? 1)))
tap.on('error', error => console.error(`tap could not be run: ${error.message}`))
for await (const line of createInterface({ input: tap.stdout }))
  for (const shown of counter.read(line)) console.log(shown)
for (const line of counter.rest()) console.log(line)

const status = await ended
const { passed, failed, skipped } = counter.counts()
if (skipped > 0) console.log(`${skipped} skipped`)
// A run that fails without a failed assertion, or without any assertion, has failed all the same.
const broken = failed === 0 && (status !== 0 || passed === 0) ? 1 : 0
console.log(`${passed} passed, ${failed + broken} failed`)
process.exitCode = failed + broken === 0 ? 0 : 1
