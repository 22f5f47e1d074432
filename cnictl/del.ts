/** `cnictl del`: detaches a container. */

import { delNetwork } from '../lib/runtime/index.ts'
import { attachmentReport, cachedAttachment } from './attachment.ts'
import type { Command } from './command.ts'
import { attachmentOptions, networkOptions } from './options.ts'
import { readAttachment, readNetworkOrCached, readRuntime } from './settings.ts'

export const del: Command = {
  name: 'del',
  summary: 'detach a container from a network',
  description:
    'Calls DEL of every plugin of the network in reverse order. It may be repeated, and needs neither the namespace nor ' +
    'the configuration: what is not given is taken from the cached result of ADD.',
  arguments: [
    { name: 'network', description: 'name of the network' },
    { name: 'namespace', description: 'the container: a path, or a name of "ip netns"', optional: true },
  ],
  options: [...attachmentOptions, ...networkOptions],
  examples: [
    { line: 'cnictl del demo blue', does: 'undo "cnictl add demo blue"' },
    { line: 'cnictl del demo --container-id 3f1c9a -i eth1', does: 'detach a container whose namespace is gone' },
  ],
  run: async (input, context) => {
    const runtime = readRuntime(input, context)
    const cached = cachedAttachment(input, context, runtime)
    const network = readNetworkOrCached(input, context, cached)
    const attachment = readAttachment(input, context, cached)
    await delNetwork(runtime, network, attachment)
    return attachmentReport('DEL', network, attachment, 'done', 'detached from')
  },
}
