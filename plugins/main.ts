/**
 * The executable: one file under many names, as busybox is. The name it is called by picks the plugin, and only that
 * plugin's modules are loaded: a start costs what the plugin needs.
 */

import type { Plugin } from '../lib/cni/types.ts'
import { executableNames } from './names.ts'

/** ErrorCode.internal: this module loads nothing that could fail. */
const CANNOT_START = 199

const plugins: Readonly<Record<string, () => Promise<Plugin>>> = {
  bridge: async () => (await import('./bridge/plugin.ts')).bridge,
  'host-local': async () => (await import('../ipam/host-local/plugin.ts')).hostLocal,
  loopback: async () => (await import('./loopback/plugin.ts')).loopback,
}

// process.argv[0] is always "bun"; argv0 is the name as called, through whichever link.
const name = process.argv0.slice(process.argv0.lastIndexOf('/') + 1)
const load = plugins[name]

if (load !== undefined) {
  try {
    const { runPlugin } = await import('../lib/cni/run.ts')
    await runPlugin(load, { builtins: plugins })
  } catch (error) {
    // Not even libc could be loaded; runPlugin answers for everything after that.
    const msg = `cannot start: ${error instanceof Error ? error.message : String(error)}`
    const details = 'the host may forbid writable and executable memory: use the executables built with koffi'
    console.log(JSON.stringify({ code: CANNOT_START, msg, details }))
    process.exitCode = 1
  }
} else if (name === 'cnictl') {
  const { main } = await import('../cnictl/main.ts')
  process.exitCode = await main(process.argv.slice(2))
} else {
  console.error(`called as "${name}", but the executable answers to: ${executableNames.join(', ')}`)
  process.exitCode = 1
}
