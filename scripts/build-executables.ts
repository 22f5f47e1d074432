/**
 * Builds dist/bin: one executable, compiled with Bun and hard-linked under the name of every plugin.
 *
 * Usage: node dist/node/scripts/build-executables.js [--koffi]
 * With --koffi libc is reached over koffi and not bun:ffi, for hosts that forbid writable-executable memory.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { executableNames } from '../plugins/names.ts'

const koffi = process.argv.includes('--koffi')
const output = koffi ? 'dist/bin-koffi' : 'dist/bin'

/** The compiler: the package's own file is a stub where install scripts are switched off. */
function findBun(): string {
  const candidates = ['node_modules/bun/bin/bun.exe']
  const platforms = 'node_modules/@oven'
  for (const name of existsSync(platforms) ? readdirSync(platforms) : [])
    candidates.push(join(platforms, name, 'bin', 'bun'))
  const found = candidates.find(path => existsSync(path) && statSync(path).size > 1 << 20)
  if (found === undefined) throw new Error(`no Bun compiler in ${candidates.join(', ')}: run "npm ci"`)
  return found
}

const [first = 'cnictl', ...others] = executableNames
mkdirSync(output, { recursive: true })
const temporary = join(output, `.build-${process.pid}`)
const build = spawnSync(
  findBun(),
  [
    'build',
    '--compile',
    '--minify',
    '--keep-names',
    '--bytecode',
    // A part for every import(): a start reads only those of the plugin that it is called as.
    '--splitting',
    '--format=esm',
    '--sourcemap=none',
    // By default an executable loads .env and runs a bunfig.toml preload from the working directory.
    '--no-compile-autoload-dotenv',
    '--no-compile-autoload-bunfig',
    '--no-compile-autoload-tsconfig',
    '--no-compile-autoload-package-json',
    // Any such argument also keeps a deleted working directory from ending the process.
    '--compile-exec-argv=--smol',
    '--compile-jit-policy=50',
    ...(koffi ? ['--conditions=koffi'] : []),
    `--outfile=${temporary}`,
    'plugins/main.ts',
  ],
  { stdio: ['ignore', 'inherit', 'inherit'] },
)
if (build.status !== 0) {
  rmSync(temporary, { force: true })
  process.exit(build.status ?? 1)
}

// Renaming replaces a running executable; writing over it would fail with ETXTBSY.
renameSync(temporary, join(output, first))
for (const name of others) {
  linkSync(join(output, first), temporary)
  renameSync(temporary, join(output, name))
}
for (const name of readdirSync(output)) {
  if (!executableNames.includes(name) && !name.endsWith('.node')) rmSync(join(output, name), { force: true })
}
console.log(`${output}: ${executableNames.join(' ')}`)
