/** The compiler of the executables. */

import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Smaller than any Bun: the package's own file is a stub where install scripts are switched off. */
const STUB_BYTES = 1 << 20

/** The path of Bun below the directory of package.json. */
export function findBun(root = '.'): string {
  const platforms = join(root, 'node_modules/@oven')
  const names = existsSync(platforms) ? readdirSync(platforms) : []
  const candidates = [
    join(root, 'node_modules/bun/bin/bun.exe'),
    ...names.map(name => join(platforms, name, 'bin', 'bun')),
  ]
  const found = candidates.find(path => existsSync(path) && statSync(path).size > STUB_BYTES)
  if (found === undefined) throw new Error(`no Bun compiler in ${candidates.join(', ')}: run "npm ci"`)
  return found
}
