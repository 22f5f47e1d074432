/** A call of a plugin, everything that it reads written down beforehand. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from './process.ts'

export interface PluginCall {
  /** Directory of the executables. */
  readonly plugins: string
  readonly plugin: string
  readonly command: 'ADD' | 'DEL' | 'CHECK' | 'VERSION'
  readonly config: object
  readonly containerId: string
  /** Path of the container's namespace. */
  readonly netns: string
  /** Directory of its own for what the plugin reads and prints. */
  readonly directory: string
  /** Variables beyond those of CNI. */
  readonly environment?: Readonly<Record<string, string>>
}

/** @param enter the command line that runs a program where the plugin is to run, when that is not where the caller is */
export function pluginCommand(
  { plugins, plugin, command, config, containerId, netns, directory, environment }: PluginCall,
  enter: (argv: readonly string[]) => readonly string[] = argv => argv,
): Command {
  mkdirSync(directory, { recursive: true })
  const input = join(directory, 'stdin')
  writeFileSync(input, JSON.stringify(config))
  const argv = enter([join(plugins, plugin)])
  const variables = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: plugins,
    ...environment,
  }
  return { path: argv[0] ?? '', argv, environment: variables, input, output: directory }
}
