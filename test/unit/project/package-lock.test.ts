/** npm ci refuses a lock file that misses a package, even one that no machine here would install. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repositoryRoot } from '../../harness/paths.ts'

interface LockedPackage {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const lock = JSON.parse(readFileSync(join(repositoryRoot, 'package-lock.json'), 'utf8')) as {
  readonly packages: Readonly<Record<string, LockedPackage>>
}

/** Whether the lock file has a package where Node would look for it from another one's directory. */
function isLocked(name: string, from: string): boolean {
  for (let directory = from; ; directory = directory.replace(/\/?node_modules\/(@[^/]+\/)?[^/]+$/, '')) {
    if (`${directory}/node_modules/${name}`.replace(/^\//, '') in lock.packages) return true
    if (directory === '') return false
  }
}

t.test('package-lock.json has every package that another one in it depends on, for every platform', t => {
  const missing = Object.entries(lock.packages).flatMap(([from, { dependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...optionalDependencies })
      .filter(name => !isLocked(name, from))
      .map(name => `${name}, for ${from}`),
  )
  t.same(missing, [])
  t.ok(Object.keys(lock.packages).length > 10, 'and there is something in it')
  t.end()
})
