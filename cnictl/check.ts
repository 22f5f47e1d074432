/** `cnictl check`: asks the plugins whether an attachment is as ADD left it. */

import { checkNetwork } from '../lib/runtime/index.ts'
import { attachmentReport, cachedAttachment } from './attachment.ts'
import type { Command } from './command.ts'
import { attachmentOptions, networkOptions } from './options.ts'
import { readAttachment, readNetworkOrCached, readRuntime } from './settings.ts'

export const check: Command = {
  name: 'check',
  summary: 'verify that an attachment is as ADD left it',
  description:
    'Calls CHECK of every plugin of the network with the cached result of ADD. The first plugin that finds a difference ' +
    'ends it with its error. A network with "disableCheck" is not asked.',
  arguments: [
    { name: 'network', description: 'name of the network' },
    { name: 'namespace', description: 'the container: a path, or a name of "ip netns"', optional: true },
  ],
  options: [...attachmentOptions, ...networkOptions],
  examples: [
    { line: 'cnictl check demo blue', does: 'check what "cnictl add demo blue" made' },
    { line: 'cnictl check demo --container-id 3f1c9a', does: 'check what a container runtime made' },
  ],
  run: async (input, context) => {
    const runtime = readRuntime(input, context)
    const cached = cachedAttachment(input, context, runtime)
    const network = readNetworkOrCached(input, context, cached)
    const attachment = readAttachment(input, context, cached)
    const asked = await checkNetwork(runtime, network, attachment)
    return asked
      ? attachmentReport('CHECK', network, attachment, 'done', 'is in order on')
      : attachmentReport('CHECK', network, attachment, 'disabled', 'was not checked: "disableCheck" is set on')
  },
}
