/** A plugin run as a container runtime runs it: in the host's namespace, with CNI_* for its whole environment. */

import { join } from 'node:path'
import type { Result } from '../../lib/cni/types.ts'
import type { Child } from './children.ts'
import type { Outcome } from './execute.ts'
import type { Host } from './host.ts'
import type { NetworkNamespace } from './namespace.ts'
import { pluginDirectory } from './paths.ts'

export interface PluginOptions {
  /** Where it runs. */
  readonly host: Host
  /** CNI_COMMAND; left out when undefined, as are the other variables. */
  readonly command?: string | undefined
  /** Standard input: an object becomes JSON, anything else goes in as it is. */
  readonly config?: object | string | Uint8Array
  readonly containerId?: string | undefined
  /** A namespace, or any text as CNI_NETNS. */
  readonly netns?: NetworkNamespace | string | undefined
  /** Default for ADD, DEL and CHECK: eth0. */
  readonly ifname?: string | undefined
  /** CNI_ARGS. */
  readonly args?: string | undefined
  /** Directory of the executable, and CNI_PATH unless `environment` says otherwise. Default: dist/bin. */
  readonly pluginDir?: string
  /** More variables, or other values of those above. */
  readonly environment?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** A command line that runs the executable in its turn: `['/usr/bin/prlimit', '--nofile=64']`. */
  readonly through?: readonly string[]
}

/** An answer of a plugin: the outcome of the process, and its standard output read as JSON. */
export interface Answer extends Outcome {
  /** The result, or undefined when there is none. */
  readonly result: (Result & { readonly cniVersion: string }) | undefined
  /** The error document, or undefined when the plugin succeeded. */
  readonly error: ErrorDocument | undefined
  /** The document whatever it is; undefined when standard output is empty. */
  readonly json: unknown
}

export interface ErrorDocument {
  readonly cniVersion?: string
  readonly code: number
  readonly msg: string
  readonly details?: string
}

const withAttachment = new Set(['ADD', 'DEL', 'CHECK'])

function environmentOf(options: PluginOptions): Record<string, string> {
  const { command, containerId, netns, args } = options
  const ifname = options.ifname ?? (command !== undefined && withAttachment.has(command) ? 'eth0' : undefined)
  const variables = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: typeof netns === 'object' ? netns.path : netns,
    CNI_IFNAME: ifname,
    CNI_ARGS: args,
    CNI_PATH: options.pluginDir ?? pluginDirectory,
    ...options.environment,
  }
  const given = Object.entries(variables).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
  return Object.fromEntries(given) as Record<string, string>
}

function invocation(name: string, options: PluginOptions) {
  const { config, cwd } = options
  const plain = config === undefined || typeof config === 'string' || config instanceof Uint8Array
  return {
    argv: [...(options.through ?? []), join(options.pluginDir ?? pluginDirectory, name)],
    input: plain ? (config ?? '') : JSON.stringify(config),
    environment: environmentOf(options),
    ...(cwd === undefined ? {} : { cwd }),
  }
}

/** Reads what a plugin printed. Throws when that is not one JSON document. */
export function answerOf(outcome: Outcome): Answer {
  const text = outcome.stdout.trim()
  let json: unknown
  try {
    json = text === '' ? undefined : JSON.parse(text)
  } catch (cause) {
    throw new Error(`standard output is no JSON document: ${text}\n${outcome.stderr}`, { cause })
  }
  const succeeded = outcome.status === 0
  return {
    ...outcome,
    json,
    result: succeeded ? (json as Answer['result']) : undefined,
    error: succeeded ? undefined : (json as Answer['error']),
  }
}

/** Runs a plugin to its end. */
export function runPlugin(name: string, options: PluginOptions): Answer {
  const { argv, ...rest } = invocation(name, options)
  return answerOf(options.host.execute(argv, rest))
}

/** Runs a plugin that must succeed: throws with its error document otherwise. */
export function mustRunPlugin(name: string, options: PluginOptions): Answer {
  const answer = runPlugin(name, options)
  if (answer.status === 0) return answer
  const how = answer.signal ?? `status ${answer.status}`
  throw new Error(`${name} ${options.command} ended with ${how}: ${answer.stdout}${answer.stderr}`)
}

/** Starts a plugin without waiting for it, for tests that run several at once or kill them: answerOf(await child.ended). */
export function startPlugin(name: string, options: PluginOptions): Child {
  const { argv, input, ...rest } = invocation(name, options)
  return options.host.start(argv, {
    ...rest,
    input: typeof input === 'string' ? input : new TextDecoder().decode(input),
  })
}
