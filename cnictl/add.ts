/** `cnictl add`: attaches a container, and undoes what was begun when a plugin fails. */

import { checkNetns } from '../lib/cni/netns-check.ts'
import type { Attachment, Network, ResultDocument, Runtime } from '../lib/runtime/index.ts'
import { addNetwork, delNetwork, readResult } from '../lib/runtime/index.ts'
import { describeAttachment } from './attachment.ts'
import type { Command, Context, Report } from './command.ts'
import { interfaceExists } from './namespace.ts'
import { attachmentOptions, networkOptions } from './options.ts'
import { resultParagraphs } from './render/result.ts'
import { paragraphs } from './render/table.ts'
import { readAttachment, readNetwork, readRuntime } from './settings.ts'

export const add: Command = {
  name: 'add',
  summary: 'attach a container to a network',
  description:
    'Calls ADD of every plugin of the network, in order, and shows the result. When a plugin fails, DEL of the whole ' +
    'network undoes what was begun; unless the interface was there before, since DEL would take it away.',
  arguments: [
    { name: 'network', description: 'name of the network' },
    { name: 'namespace', description: 'the container: a path, or a name of "ip netns"' },
  ],
  options: [...attachmentOptions, ...networkOptions],
  examples: [
    { line: 'ip netns add blue && cnictl add demo blue', does: 'attach a new namespace to network "demo"' },
    { line: 'cnictl add demo /proc/4711/ns/net -i eth1', does: 'give a running process a second interface' },
    {
      line: `cnictl add demo blue --capability-args '{"ips": ["10.1.0.5"]}'`,
      does: 'ask for an address (the configuration must declare the capability)',
    },
    { line: "cnictl add demo blue --json | jq -r '.ips[0].address'", does: 'use the result in a script' },
  ],
  run: async (input, context) => {
    const runtime = readRuntime(input, context)
    const network = readNetwork(input, context)
    const attachment = readAttachment(input, context)
    checkNetns(attachment.netns, 'ADD', ownNamespaceRule(context))
    const existed = interfaceExists(attachment.netns, attachment.ifname)
    try {
      return report(network, attachment, await addNetwork(runtime, network, attachment))
    } catch (error) {
      await undo(runtime, network, attachment, existed)
      throw error
    }
  },
}

/** The variable that lets plugins work on the namespace they run in; the other variables are of no matter here. */
function ownNamespaceRule(context: Context): Record<string, string> {
  return { CNI_NETNS_OVERRIDE: context.environment.CNI_NETNS_OVERRIDE ?? '' }
}

/** DEL after a failed ADD, which the specification makes the runtime's duty; also after a signal. */
async function undo(runtime: Runtime, network: Network, attachment: Attachment, existed: boolean): Promise<void> {
  const what = describeAttachment(attachment)
  if (existed) {
    runtime.warn(`not undone: ${attachment.ifname} was in the namespace before, and "cnictl del" would remove it`)
    return
  }
  try {
    await delNetwork({ ...runtime, signal: undefined }, network, attachment)
    runtime.warn(`undone: ${what} was detached from network ${network.name} again`)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    runtime.warn(`not undone: ${reason}; when the cause is removed, run "cnictl del" with the same arguments`)
  }
}

function report(network: Network, attachment: Attachment, document: ResultDocument): Report {
  const heading = `${describeAttachment(attachment)} attached to network ${network.name}`
  return { document, text: paragraphs([heading], ...resultParagraphs(readResult(document))) }
}
