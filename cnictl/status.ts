/** `cnictl status`: asks the plugins whether they could serve an ADD. */

import { networkStatus } from '../lib/runtime/index.ts'
import type { Command } from './command.ts'
import { networkOptions } from './options.ts'
import { readNetwork, readRuntime } from './settings.ts'

export const status: Command = {
  name: 'status',
  summary: 'ask whether a network could take a container now',
  description:
    'Calls STATUS of every plugin of the network; the first that cannot serve an ADD ends it with its error (code 50, or ' +
    '51 when containers that are attached suffer too). STATUS came with version 1.1.0: of an older network nothing is known.',
  arguments: [{ name: 'network', description: 'name of the network' }],
  options: networkOptions,
  examples: [{ line: 'cnictl status demo', does: 'say whether network "demo" is ready' }],
  run: async (input, context) => {
    const runtime = readRuntime(input, context)
    const network = readNetwork(input, context)
    const asked = await networkStatus(runtime, network)
    const plugins = network.plugins.map(plugin => plugin.type)
    return {
      document: { command: 'STATUS', network: network.name, plugins, outcome: asked ? 'ready' : 'unknown' },
      text: asked
        ? `network ${network.name} is ready: ${plugins.join(', ')}`
        : `network ${network.name} has version ${network.cniVersion}, which has no STATUS: raise "cniVersion" to 1.1.0`,
    }
  },
}
