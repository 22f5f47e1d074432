/** What the commands about one attachment share. */

import type { Attachment, CachedAttachment, Network, Runtime } from '../lib/runtime/index.ts'
import { readCache } from '../lib/runtime/index.ts'
import type { Context, Input, Report } from './command.ts'
import { readAttachmentId } from './settings.ts'

/** What the cache knows of the attachment that the command line names. A file that cannot be used is only told of. */
export function cachedAttachment(input: Input, context: Context, runtime: Runtime): CachedAttachment | undefined {
  const network = input.arguments[0] ?? ''
  const id = readAttachmentId(input, context)
  try {
    return readCache(runtime.cacheDirectory, network, id)
  } catch (error) {
    context.warn(error instanceof Error ? error.message : String(error))
    return undefined
  }
}

/** "eth0 of container 3f1c9a" for a message. */
export function describeAttachment(attachment: Attachment): string {
  return `${attachment.ifname} of container ${attachment.containerId}`
}

/** The report of a verb that prints nothing itself. */
export function attachmentReport(
  command: 'DEL' | 'CHECK',
  network: Network,
  attachment: Attachment,
  outcome: 'done' | 'disabled',
  phrase: string,
): Report {
  const { containerId, ifname } = attachment
  return {
    document: { command, network: network.name, containerId, ifname, outcome },
    text: `${describeAttachment(attachment)} ${phrase} network ${network.name}`,
  }
}
