/**
 * A plugin's main program: the protocol around its verbs. Everything that can be refused is refused before the verb
 * runs, and standard output is given exactly one JSON document, whatever happens.
 */

import { libc } from '#libc'
import { holdTerminatingSignals } from '../sys/signals.ts'
import { isThisExecutable } from './delegate.ts'
import { pluginDirectories, readCommand } from './environment.ts'
import { CniError, ErrorCode } from './errors.ts'
import { toCniError } from './failure.ts'
import { checkNetns } from './netns-check.ts'
import type { BaseDocument } from './request.ts'
import { attachmentRequest, gcRequest, negotiateVersion, networkRequest, parseBase, parseStdin } from './request.ts'
import { formatResult } from './results/index.ts'
import type { StandardStreams } from './standard-streams.ts'
import { processStreams } from './standard-streams.ts'
import type { AttachmentRequest, CniVersion, Plugin } from './types.ts'

export type PluginLoader = () => Promise<Plugin>

export interface RunOptions {
  /** Plugins of this executable by type. One that the configuration names as IPAM plugin is called as a function. */
  readonly builtins?: Readonly<Record<string, PluginLoader>>
}

const newestVersion: CniVersion = '1.1.0'

/** Runs the plugin once, for this process's environment and standard input, and ends the process. */
export async function runPlugin(load: PluginLoader, options: RunOptions = {}): Promise<never> {
  holdTerminatingSignals()
  const status = await dispatch(load, processStreams(), options)
  // Nothing is buffered that could be lost; the runtime's own way out costs a little more.
  libc._exit(status)
  throw new Error('_exit came back')
}

/** Answers one request; returns the exit status. */
export async function dispatch(
  load: PluginLoader,
  streams: StandardStreams,
  options: RunOptions = {},
): Promise<number> {
  const answer = new Answer(streams)
  try {
    const plugin = await load()
    if (!streams.environment.CNI_COMMAND) {
      streams.writeStderr(aboutText(plugin))
      return 0
    }
    await serve(plugin, streams, options, answer)
    return 0
  } catch (error) {
    answer.fail(toCniError(error))
    return 1
  }
}

async function serve(plugin: Plugin, streams: StandardStreams, options: RunOptions, answer: Answer): Promise<void> {
  const { environment } = streams
  const command = readCommand(environment)
  if (command === 'VERSION') {
    answer.succeed({ cniVersion: newestVersion, supportedVersions: plugin.supportedVersions })
    return
  }
  const stdin = streams.readStdin()
  const config = parseStdin(stdin)
  const base = parseBase(config)
  const version = negotiateVersion(base, plugin, command)
  answer.version = version
  const builtins = await loadBuiltins(base, plugin, streams, options)
  const request = networkRequest(command, version, base, { config, stdin, environment }, builtins)
  switch (command) {
    case 'GC':
      return plugin.gc(gcRequest(request, base))
    case 'STATUS':
      return plugin.status(request)
  }
  const attachment = attachmentRequest(request, base, plugin, message => streams.writeStderr(`${message}\n`))
  if (attachment.netns !== '') checkNetns(attachment.netns, command, environment, plugin.usesNetns ?? true)
  switch (command) {
    case 'ADD':
      return add(plugin, attachment, answer)
    case 'DEL':
      return plugin.del(attachment)
    case 'CHECK':
      return plugin.check(attachment)
  }
}

/** An attachment whose result the runtime never sees would stay for ever: it is undone. */
function add(plugin: Plugin, request: AttachmentRequest, answer: Answer): void {
  const result = plugin.add(request)
  try {
    answer.succeed(formatResult(result, request.cniVersion))
  } catch (thrown) {
    const error = toCniError(thrown)
    let undone = 'what ADD had made is removed again'
    try {
      plugin.del({ ...request, command: 'DEL' })
    } catch (undoError) {
      undone = `cannot undo ADD: ${undoError instanceof Error ? undoError.message : String(undoError)}`
    }
    throw new CniError(error.code, error.message, [error.details, undone].filter(Boolean).join('\n'), { cause: thrown })
  }
}

/** The IPAM plugin, when CNI_PATH leads to this executable under its name. */
async function loadBuiltins(base: BaseDocument, caller: Plugin, streams: StandardStreams, options: RunOptions) {
  const builtins = new Map<string, Plugin>()
  const type = base.ipam?.type
  const loaders = options.builtins ?? {}
  if (type !== undefined && Object.hasOwn(loaders, type)) {
    const load = loaders[type]
    if (load !== undefined && isThisExecutable(pluginDirectories(streams.environment), type)) {
      const builtin = await load()
      // An IPAM plugin that runs as a process of its own is given its caller's configuration, which names it.
      if (builtin === caller && caller.usesNetns === false) return builtins
      if (builtin === caller) {
        throw new CniError(
          ErrorCode.invalidNetworkConfig,
          `"ipam.type" is ${JSON.stringify(type)}, the plugin that would call it`,
          'ipam.type: the name of an address plugin, "host-local" for example',
        )
      }
      builtins.set(type, builtin)
    }
  }
  return builtins
}

function aboutText(plugin: Plugin): string {
  return `CNI plugin ${plugin.name}: ${plugin.about}\nCNI protocol versions supported: ${plugin.supportedVersions.join(', ')}\n`
}

/** Standard output, which takes one document. */
class Answer {
  /** The version that the configuration names, once it is known to be one of ours. */
  version: CniVersion = newestVersion
  #written = false
  readonly #streams: StandardStreams

  constructor(streams: StandardStreams) {
    this.#streams = streams
  }

  /** @throws CniError code 5 */
  succeed(document: Readonly<Record<string, unknown>>): void {
    const text = `${JSON.stringify(document, null, 4)}\n`
    this.#written = true
    try {
      this.#streams.writeStdout(text)
    } catch (error) {
      throw new CniError(ErrorCode.ioFailure, `cannot write the result: ${toCniError(error).message}`, undefined, {
        cause: error,
      })
    }
  }

  /** A document that was begun cannot be taken back, and a second one would make both unreadable. */
  fail({ code, message, details }: CniError): void {
    const document = { cniVersion: this.version, code, msg: message, ...(details ? { details } : {}) }
    const text = `${JSON.stringify(document, null, 4)}\n`
    try {
      if (this.#written) this.#streams.writeStderr(text)
      else this.#streams.writeStdout(text)
    } catch {
      // Nobody listens; the exit status still tells.
    }
  }
}
