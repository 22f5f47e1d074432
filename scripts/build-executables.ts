/**
 * Builds dist/bin: one executable, compiled with Bun and hard-linked under the name of every plugin.
 *
 * Usage: node dist/node/scripts/build-executables.js [--koffi]
 * With --koffi libc is reached over koffi and not bun:ffi, for hosts that forbid writable-executable memory.
 */

import { spawnSync } from 'node:child_process'
import { copyFileSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findBun } from './find-bun.ts'

const koffi = process.argv.includes('--koffi')
const output = koffi ? 'dist/bin-koffi' : 'dist/bin'
const work = koffi ? 'dist/parts-koffi' : 'dist/parts'

function bun(...parameters: string[]): void {
  const build = spawnSync(findBun(), ['build', '--minify', '--format=esm', ...parameters], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (build.status !== 0) process.exit(build.status ?? 1)
}

/** Parts of the executable, by the name that it is called by. */
const parts: Readonly<Record<string, string>> = {
  bandwidth: 'plugins/bandwidth/main.ts',
  bridge: 'plugins/bridge/main.ts',
  cluster: 'ipam/cluster/main.ts',
  cnictl: 'cnictl/executable.ts',
  firewall: 'plugins/firewall/main.ts',
  host: 'plugins/host/main.ts',
  'host-device': 'plugins/host-device/main.ts',
  'host-local': 'ipam/host-local/main.ts',
  loopback: 'plugins/loopback/main.ts',
  macvlan: 'plugins/macvlan/main.ts',
  overlay: 'plugins/overlay/main.ts',
  overlayd: 'overlayd/executable.ts',
  portmap: 'plugins/portmap/main.ts',
  static: 'ipam/static/main.ts',
  tuning: 'plugins/tuning/main.ts',
}

// Each part is one file: the cost of a start grows with the number of files and with their size, and code that parts
// share, as --splitting makes it of all of them at once, would cost more than it saves.
rmSync(work, { recursive: true, force: true })
mkdirSync(work, { recursive: true })
for (const [name, entry] of Object.entries(parts)) {
  bun('--target=bun', ...(koffi ? ['--conditions=koffi'] : []), `--outfile=${work}/${name}.js`, entry)
}
const imports = Object.keys(parts).map(name => `  '${name}': () => import('./${name}.js'),`)
writeFileSync(
  `${work}/main.ts`,
  `import { runPart } from '../../plugins/main.ts'\n\nawait runPart({\n${imports.join('\n')}\n})\n`,
)

mkdirSync(output, { recursive: true })
const temporary = join(output, `.build-${process.pid}`)
bun(
  '--compile',
  '--bytecode',
  '--splitting',
  '--sourcemap=none',
  // By default an executable loads .env and runs a bunfig.toml preload from the working directory.
  '--no-compile-autoload-dotenv',
  '--no-compile-autoload-bunfig',
  '--no-compile-autoload-tsconfig',
  '--no-compile-autoload-package-json',
  // Any such argument keeps a deleted working directory from ending the process. This one changes nothing else; --smol
  // would begin a garbage collection in the middle of ADD.
  '--compile-exec-argv=--no-deprecation',
  // No compiling of code that runs for some milliseconds.
  '--compile-jit-policy=1000',
  `--outfile=${temporary}`,
  `${work}/main.ts`,
)

// Renaming replaces a running executable; writing over it would fail with ETXTBSY.
const [first = '', ...others] = Object.keys(parts)
renameSync(temporary, join(output, first))
for (const name of others) {
  linkSync(join(output, first), temporary)
  renameSync(temporary, join(output, name))
}
// Beside the executable: embedded, it would be unpacked into /tmp at the first start.
if (koffi) {
  const { arch } = process
  copyFileSync(`node_modules/@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`, temporary)
  renameSync(temporary, join(output, 'koffi.node'))
}
for (const name of readdirSync(output)) {
  if (!(name in parts) && !(koffi && name === 'koffi.node')) rmSync(join(output, name), { force: true })
}
console.log(`${output}: ${Object.keys(parts).join(' ')}`)
