/** What a plugin reads on standard input (SPEC 1.1.0, "Deriving request configuration from plugin configuration"). */

import type { AttachmentId } from '../cni/types.ts'
import type { Network, PluginConfig } from './conflist.ts'

/** A result as a plugin printed it: its form is that of `cniVersion`. */
export type ResultDocument = Readonly<Record<string, unknown>> & { readonly cniVersion: string }

export interface Additions {
  /** What the runtime knows, by capability; a plugin gets those that it has. */
  readonly capabilityArgs?: Readonly<Record<string, unknown>>
  readonly prevResult?: ResultDocument | undefined
  /** GC: the attachments that stay. Undefined leaves the key out: nobody says what is valid. */
  readonly validAttachments?: readonly AttachmentId[] | undefined
}

/** The attachments as GC's key lists them. */
function attachmentList(valid: readonly AttachmentId[]): { containerID: string; ifname: string }[] {
  return valid.map(({ containerId, ifname }) => ({ containerID: containerId, ifname }))
}

/**
 * The configuration of one plugin for one call: name and version of the network, `runtimeConfig` made of the
 * capabilities that the plugin has and the runtime knows, and `capabilities` itself left out, as the specification
 * demands (libcni leaves it in).
 */
export function pluginInput(network: Network, plugin: PluginConfig, additions: Additions = {}): string {
  const input: Record<string, unknown> = Object.fromEntries(
    Object.entries(plugin.raw).filter(([key]) => key.toLowerCase() !== 'capabilities'),
  )
  input.name = network.name
  input.cniVersion = network.cniVersion

  const known = additions.capabilityArgs ?? {}
  const runtimeConfig = plugin.capabilities.filter(name => Object.hasOwn(known, name))
  if (runtimeConfig.length > 0) input.runtimeConfig = Object.fromEntries(runtimeConfig.map(name => [name, known[name]]))
  if (additions.prevResult !== undefined) input.prevResult = additions.prevResult
  if (additions.validAttachments !== undefined) {
    const list = attachmentList(additions.validAttachments)
    input['cni.dev/valid-attachments'] = list
    // A draft of the specification had this name, and plugins were written to it.
    input['cni.dev/attachments'] = list
  }
  return JSON.stringify(input)
}
