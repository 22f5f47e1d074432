/** Where things are, whether the tests run compiled or as they stand. */

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The directory of package.json. */
export const repositoryRoot = ((): string => {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory)
  return directory
})()

/** The executables under test; CNIKIT_PLUGIN_DIR names others, to see how the Go plugins fare. */
export const pluginDirectory = process.env.CNIKIT_PLUGIN_DIR ?? join(repositoryRoot, 'dist/bin')

/** Debian's containernetworking-plugins. */
export const goPluginDirectory = '/usr/lib/cni'
