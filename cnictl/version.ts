/** `cnictl version`: which versions of the specification a network and its plugins speak. */

import { networkVersions } from '../lib/runtime/index.ts'
import type { Command } from './command.ts'
import { networkOptions } from './options.ts'
import { paragraphs, table } from './render/table.ts'
import { readNetwork, readRuntime } from './settings.ts'

export const version: Command = {
  name: 'version',
  summary: 'show which versions of CNI the plugins of a network speak',
  description:
    'Calls VERSION of every plugin of the network and compares with the version that the network is called with.',
  arguments: [{ name: 'network', description: 'name of the network' }],
  options: networkOptions,
  examples: [{ line: 'cnictl version demo', does: 'list the plugins of network "demo" with their versions' }],
  run: async (input, context) => {
    const runtime = readRuntime(input, context)
    const network = readNetwork(input, context)
    const plugins = await networkVersions(runtime, network)
    const speaks = (versions: readonly string[]) => versions.includes(network.cniVersion)
    return {
      document: {
        command: 'VERSION',
        network: network.name,
        cniVersion: network.cniVersion,
        plugins: plugins.map(plugin => ({ ...plugin, speaksNetworkVersion: speaks(plugin.supportedVersions) })),
      },
      text: paragraphs(
        [`network ${network.name} is called with version ${network.cniVersion}`],
        table(
          ['plugin', 'speaks it', 'versions', 'file'],
          plugins.map(plugin => ({
            plugin: plugin.type,
            'speaks it': speaks(plugin.supportedVersions) ? 'yes' : 'no',
            versions: plugin.supportedVersions.join(' '),
            file: plugin.file,
          })),
        ),
      ),
    }
  },
}
