/** What the verbs share: where things are, and how a plugin is called. */

import { findPlugin } from '../cni/delegate.ts'
import type { Command } from '../cni/types.ts'
import { defaultCacheDirectory } from './cache.ts'
import type { Network, PluginConfig } from './conflist.ts'
import { runPlugin } from './exec.ts'
import type { Attachment, PluginCall, PluginOutcome, PluginRunner } from './plugin-call.ts'
import { pluginEnvironment } from './plugin-call.ts'
import type { Additions } from './plugin-input.ts'
import { pluginInput } from './plugin-input.ts'

export interface Runtime {
  /** Directories of plugins, in the order of the search. */
  readonly path: readonly string[]
  /** Holds `results/`. */
  readonly cacheDirectory: string
  /** What plugins inherit. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Starts the plugins. */
  readonly run: PluginRunner
  /** Told of what is out of order but stops nothing. */
  readonly warn: (message: string) => void
  /** Ends the plugin that runs, and lets no other begin. */
  readonly signal?: AbortSignal | undefined
}

/** A runtime as libcni has it by default, with what is given instead. */
export function createRuntime(options: Partial<Runtime> = {}): Runtime {
  return {
    path: ['/opt/cni/bin'],
    cacheDirectory: defaultCacheDirectory,
    environment: process.env,
    run: runPlugin,
    warn: message => process.stderr.write(`${message}\n`),
    ...options,
  }
}

/** Calls one plugin of a network. @throws CniError 106 when it cannot be found or started; its own error is in the outcome */
export async function callPlugin(
  runtime: Runtime,
  command: Command,
  network: Network,
  plugin: PluginConfig,
  attachment?: Attachment,
  additions?: Additions,
): Promise<[PluginCall, PluginOutcome]> {
  runtime.signal?.throwIfAborted()
  const call: PluginCall = {
    command,
    plugin: plugin.type,
    file: findPlugin(runtime.path, plugin.type),
    environment: pluginEnvironment(runtime.environment, command, runtime.path, attachment),
    input: pluginInput(network, plugin, additions),
    signal: runtime.signal,
  }
  return [call, await runtime.run(call)]
}
