/** One call of a plugin, as data: what goes in, and what comes out. */

import type { AttachmentId, Command } from '../cni/types.ts'

/** What is started. A tracer stands between this and `runPlugin`. */
export interface PluginCall {
  readonly command: Command
  /** The plugin's type, as the configuration names it. */
  readonly plugin: string
  /** The executable. */
  readonly file: string
  /** The whole environment. */
  readonly environment: Readonly<Record<string, string>>
  /** Standard input. */
  readonly input: string
  /** Stops the plugin with SIGTERM, so that it can undo what it has begun. */
  readonly signal?: AbortSignal | undefined
}

/** What a plugin left when it ended. */
export interface PluginOutcome {
  /** The exit status, or 128 plus the number of the signal that ended it. */
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export type PluginRunner = (call: PluginCall) => Promise<PluginOutcome>

/** What names an attachment, and what ADD, DEL and CHECK need besides. */
export interface Attachment extends AttachmentId {
  /** Path of the namespace; "" where DEL has none. */
  readonly netns: string
  /** CNI_ARGS, in their order. */
  readonly args: readonly (readonly [key: string, value: string])[]
  readonly capabilityArgs: Readonly<Record<string, unknown>>
}

/**
 * The environment of a call: the given one (TRACEPARENT and the like included) with the protocol's variables. Those that
 * a verb does not have are empty, and so never those that the caller happened to have.
 */
export function pluginEnvironment(
  base: Readonly<Record<string, string | undefined>>,
  command: Command,
  path: readonly string[],
  attachment?: Attachment,
): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const [name, value] of Object.entries(base)) if (value !== undefined) environment[name] = value
  return Object.assign(environment, {
    CNI_COMMAND: command,
    CNI_CONTAINERID: attachment?.containerId ?? '',
    CNI_NETNS: attachment?.netns ?? '',
    CNI_IFNAME: attachment?.ifname ?? '',
    CNI_ARGS: formatArgs(attachment?.args ?? []),
    CNI_PATH: path.join(':'),
  })
}

/** "K=V;K2=V2". */
export function formatArgs(args: Attachment['args']): string {
  return args.map(([key, value]) => `${key}=${value}`).join(';')
}
