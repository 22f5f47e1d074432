/** The line that says what a table was measured on. */

import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { output } from '../test/harness/index.ts'

export function machineLine(runs: number): string {
  const [cpu] = cpus()
  const [, system = 'unknown system'] = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? []
  const plugins = output(['dpkg-query', '-s', 'containernetworking-plugins'])
  const [, version = 'of unknown version'] = /^Version: (.*)$/m.exec(plugins) ?? []
  const memory = Math.round(totalmem() / 2 ** 30)
  return (
    `${system}, Linux ${release()}, ${cpus().length} × ${cpu?.model ?? 'unknown processor'}, ${memory} GiB; ` +
    `Go plugins: containernetworking-plugins ${version}; ${runs} alternating runs; median (best); clean environment.`
  )
}
