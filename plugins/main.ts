/**
 * The executable: one file under many names, as busybox is. The name it is called by picks the plugin, and only that
 * plugin's modules are evaluated: a start costs what the plugin needs.
 */

import { runPlugin } from '../lib/cni/run.ts'
import type { Plugin } from '../lib/cni/types.ts'
import { executableNames } from './names.ts'

const plugins: Readonly<Record<string, () => Promise<Plugin>>> = {
  bridge: async () => (await import('./bridge/plugin.ts')).bridge,
  'host-local': async () => (await import('../ipam/host-local/plugin.ts')).hostLocal,
  loopback: async () => (await import('./loopback/plugin.ts')).loopback,
}

// process.argv[0] is always "bun"; argv0 is the name as called, through whichever link.
const name = process.argv0.slice(process.argv0.lastIndexOf('/') + 1)
const load = plugins[name]

if (load !== undefined) {
  await runPlugin(load, { builtins: plugins })
} else if (name === 'cnictl') {
  const { main } = await import('../cnictl/main.ts')
  process.exitCode = await main(process.argv.slice(2))
} else {
  process.stderr.write(`called as "${name}", but the executable answers to: ${executableNames.join(', ')}\n`)
  process.exitCode = 1
}
