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

const newestVersion: CniVersion = '1.1.0'

/**
 * Runs the plugin once, for this process's environment and standard input, and ends the process.
 * @param builtins plugins of this same executable: one that the configuration names as IPAM plugin is called as a function
 */
export function runPlugin(plugin: Plugin, builtins: readonly Plugin[] = []): never {
  holdTerminatingSignals()
  const status = dispatch(plugin, processStreams(), builtins)
  // Nothing is buffered that could be lost; the runtime's own way out costs a little more.
  libc._exit(status)
  throw new Error('_exit came back')
}

/** Answers one request; returns the exit status. */
export function dispatch(plugin: Plugin, streams: StandardStreams, builtins: readonly Plugin[] = []): number {
  const answer = new Answer(streams)
  try {
    if (!streams.environment.CNI_COMMAND) {
      streams.writeStderr(aboutText(plugin))
      return 0
    }
    serve(plugin, streams, builtins, answer)
    return 0
  } catch (error) {
    answer.fail(toCniError(error))
    return 1
  }
}

function serve(plugin: Plugin, streams: StandardStreams, builtins: readonly Plugin[], answer: Answer): void {
  const { environment } = streams
  const command = readCommand(environment, plugin.netns)
  if (command === 'VERSION') {
    answer.succeed({ cniVersion: newestVersion, supportedVersions: plugin.supportedVersions })
    return
  }
  const stdin = streams.readStdin()
  const config = parseStdin(stdin)
  const base = parseBase(config)
  const version = negotiateVersion(base, plugin, command)
  answer.version = version
  const callable = callableBuiltins(base, plugin, streams, builtins)
  const request = networkRequest(command, version, base, { config, stdin, environment }, callable)
  switch (command) {
    case 'GC':
      plugin.gc(gcRequest(request, base))
      return
    case 'STATUS':
      plugin.status(request)
      return
  }
  const attachment = attachmentRequest(request, base, plugin, message => streams.writeStderr(`${message}\n`))
  const { netns } = attachment
  const isThere = netns !== '' && checkNetns(netns, command, environment, plugin.netns)
  switch (command) {
    case 'ADD':
      add(plugin, attachment, answer)
      break
    case 'DEL':
      // One that is gone is as one that is not named, whatever stands in its place.
      plugin.del(isThere ? attachment : { ...attachment, netns: '' })
      break
    case 'CHECK':
      plugin.check(attachment)
      break
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
function callableBuiltins(
  base: BaseDocument,
  caller: Plugin,
  streams: StandardStreams,
  builtins: readonly Plugin[],
): ReadonlyMap<string, Plugin> {
  const type = base.ipam?.type
  if (type === undefined) return new Map()
  if (type === caller.name) {
    // An IPAM plugin that runs as a process of its own is given its caller's configuration, which names it.
    if (caller.netns === 'any') return new Map()
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `"ipam.type" is ${JSON.stringify(type)}, the plugin that would call it`,
      'ipam.type: the name of an address plugin, "host-local" for example',
    )
  }
  const builtin = builtins.find(plugin => plugin.name === type)
  if (builtin === undefined || !isThisExecutable(pluginDirectories(streams.environment), type)) return new Map()
  return new Map([[type, builtin]])
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
