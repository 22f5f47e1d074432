/** `cnictl gc`: removes what a network holds for attachments that are no more. */

import { checkContainerId, checkInterfaceName } from '../lib/cni/environment.ts'
import { CniError } from '../lib/cni/errors.ts'
import type { AttachmentId } from '../lib/cni/types.ts'
import type { GcReport, Network, Runtime } from '../lib/runtime/index.ts'
import { gcNetwork, listCache } from '../lib/runtime/index.ts'
import { statusOf } from '../lib/sys/file.ts'
import type { Command, Input } from './command.ts'
import { UsageError } from './command.ts'
import { isNamespaceGone } from './namespace.ts'
import { listOption, networkOptions, switchOption } from './options.ts'
import { readNetwork, readRuntime } from './settings.ts'

export const gc: Command = {
  name: 'gc',
  summary: 'remove what dead attachments left behind',
  description:
    'Calls DEL for each cached attachment of the network that is not valid, then GC of every plugin with the list of ' +
    'those that are. What is valid must be said: everything else of the network is removed, addresses included. ' +
    'Each --valid keeps one attachment; --attachments-from-cache keeps those that the cache knows and whose namespace ' +
    'exists. The cache must be that of the runtime which uses the network (--cache-dir).',
  arguments: [{ name: 'network', description: 'name of the network' }],
  options: [
    { flags: '--valid <container/interface>', description: 'an attachment that stays', repeatable: true },
    { flags: '--attachments-from-cache', description: 'cached attachments with a living namespace stay' },
    ...networkOptions,
  ],
  examples: [
    { line: 'cnictl gc demo --attachments-from-cache', does: 'clean up after containers that died without DEL' },
    { line: 'cnictl gc demo --valid 3f1c9a/eth0 --valid 77ab01/eth0', does: 'keep exactly these two' },
  ],
  run: async (input, context) => {
    const fromCache = switchOption(input, 'attachmentsFromCache')
    const named = listOption(input, 'valid').map(readAttachmentName)
    if (!fromCache && named.length === 0) {
      throw new UsageError(
        'which attachments are valid is not said, and all others would be removed',
        'give --valid CONTAINER/INTERFACE for each that stays, or --attachments-from-cache',
      )
    }
    const runtime = readRuntime(input, context)
    const network = readNetwork(input, context)
    const valid = fromCache ? [...named, ...livingAttachments(runtime, network, input)] : named
    return report(network, valid, await gcNetwork(runtime, network, valid))
  },
}

/** Reads "CONTAINER/INTERFACE". @throws UsageError */
function readAttachmentName(text: string): AttachmentId {
  const [containerId = '', ifname = ''] = text.split(/\/(.*)/s)
  try {
    checkContainerId(containerId)
    checkInterfaceName(ifname)
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    const reason = `${error.message} in --valid ${JSON.stringify(text)}`
    throw new UsageError(reason, 'write --valid CONTAINER/INTERFACE, for example --valid 3f1c9a/eth0', { cause: error })
  }
  return { containerId, ifname }
}

/** The network's cached attachments, those apart whose namespace is gone. @throws UsageError where there is no cache */
function livingAttachments(runtime: Runtime, network: Network, input: Input): AttachmentId[] {
  const directory = `${runtime.cacheDirectory}/results`
  if (statusOf(directory) === undefined) {
    throw new UsageError(
      `there is no cache: ${JSON.stringify(directory)} does not exist, and every attachment would count as dead`,
      input.options.cacheDir === undefined ? 'give the directory of your runtime with --cache-dir' : undefined,
    )
  }
  return listCache(runtime.cacheDirectory, runtime.warn)
    .filter(cached => cached.network === network.name && !isNamespaceGone(cached.origin?.netns ?? ''))
    .map(({ containerId, ifname }) => ({ containerId, ifname }))
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function report(network: Network, valid: readonly AttachmentId[], { deleted, forwarded }: GcReport) {
  const plugins = forwarded ? network.plugins.map(plugin => plugin.type) : []
  const reasons = network.disableGc
    ? 'nothing was done: "disableGC" is set'
    : `plugins were not asked: version ${network.cniVersion} of the configuration has no GC`
  return {
    document: { command: 'GC', network: network.name, valid, deleted, plugins },
    text: [
      `network ${network.name}: ${plural(valid.length, 'attachment')} kept, ${plural(deleted.length, 'attachment')} deleted`,
      ...deleted.map(({ containerId, ifname }) => `  deleted ${containerId}/${ifname}`),
      forwarded ? `GC was passed to ${plugins.join(', ')}` : reasons,
    ].join('\n'),
  }
}
