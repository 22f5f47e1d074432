/** From the command line and the environment to what lib/runtime is given. */

import { parseArguments } from '../lib/cni/arguments.ts'
import { CniError } from '../lib/cni/errors.ts'
import type { Attachment, CachedAttachment, Network, Runtime } from '../lib/runtime/index.ts'
import {
  completeNetwork,
  createRuntime,
  defaultCacheDirectory,
  loadNetwork,
  parseConflist,
} from '../lib/runtime/index.ts'
import { sha512 } from '../lib/sys/host.ts'
import type { Context, Input } from './command.ts'
import { ConfigurationError, UsageError } from './command.ts'
import { textOption } from './options.ts'

/** Where `ip netns` keeps namespaces by name. */
const NAMED_NAMESPACES = '/run/netns'

function absolute(path: string, context: Context): string {
  return path.startsWith('/') ? path : `${context.workingDirectory()}/${path.replace(/^(\.\/)+/, '')}`
}

function directoryOption(input: Input, context: Context, name: string, variable: string, fallback: string): string {
  const fromEnvironment = variable === '' ? undefined : context.environment[variable]
  return absolute(textOption(input, name, fromEnvironment) ?? fallback, context)
}

/** Where network configurations are. */
export function configurationDirectory(input: Input, context: Context): string {
  return directoryOption(input, context, 'configDir', 'NETCONFPATH', '/etc/cni/net.d')
}

export function readRuntime(input: Input, context: Context): Runtime {
  const path = textOption(input, 'pluginDir', context.environment.CNI_PATH) ?? '/opt/cni/bin'
  return createRuntime({
    path: path
      .split(':')
      .filter(directory => directory !== '')
      .map(directory => absolute(directory, context)),
    cacheDirectory: directoryOption(input, context, 'cacheDir', '', defaultCacheDirectory),
    environment: context.environment,
    warn: context.warn,
    signal: context.signal,
  })
}

/** The network that the command line names. @throws ConfigurationError */
export function readNetwork(input: Input, context: Context): Network {
  const name = input.arguments[0] ?? ''
  return asConfiguration(() => loadNetwork(configurationDirectory(input, context), name, context.warn))
}

/**
 * The network as it is configured; where the configuration is gone, as it was when the attachment was made.
 * @throws ConfigurationError
 */
export function readNetworkOrCached(input: Input, context: Context, cached: CachedAttachment | undefined): Network {
  try {
    return readNetwork(input, context)
  } catch (error) {
    const text = cached?.origin?.config ?? ''
    if (!(error instanceof ConfigurationError) || text === '') throw error
    context.warn(`${error.message}; using the configuration that the attachment was made with`)
    return asConfiguration(() => completeNetwork(configurationDirectory(input, context), parseConflist(text)))
  }
}

function asConfiguration<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof CniError ? new ConfigurationError(error) : error
  }
}

/** A namespace by path, or by the name that `ip netns` gave it. "" where none is named. */
export function namespacePath(text: string | undefined, context: Context): string {
  if (text === undefined || text === '') return ''
  if (!text.includes('/')) return `${NAMED_NAMESPACES}/${text}`
  return absolute(text, context)
}

/** cnitool's: the same for everybody who names the namespace by the same path. */
export function containerIdOf(netns: string): string {
  return `cnitool-${sha512(netns).slice(0, 20)}`
}

/** Which attachment is meant. @throws UsageError when neither a namespace nor a container is named */
export function readAttachmentId(input: Input, context: Context): Pick<Attachment, 'containerId' | 'ifname' | 'netns'> {
  const netns = namespacePath(input.arguments[1], context)
  const containerId = textOption(input, 'containerId')
  if (containerId === undefined && netns === '') {
    throw new UsageError(
      'neither a namespace nor a container is named',
      'name the namespace after the network, or give --container-id',
    )
  }
  return {
    containerId: containerId ?? containerIdOf(netns),
    ifname: textOption(input, 'ifname', context.environment.CNI_IFNAME) ?? 'eth0',
    netns,
  }
}

function readArgs(text: string): [string, string][] {
  // A ";" at the end is a habit of shells and harmless.
  const pairs = text.replace(/;+$/, '')
  try {
    return [...parseArguments(pairs, undefined)]
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw new UsageError(error.message, 'write --args "KEY=VALUE;KEY=VALUE"', { cause: error })
  }
}

function readCapabilityArgs(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new UsageError(`the capability arguments are not JSON: ${text}`, CAPABILITY_EXAMPLE, { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`the capability arguments are no JSON object: ${text}`, CAPABILITY_EXAMPLE)
  }
  return { ...value }
}

const CAPABILITY_EXAMPLE = 'for example: --capability-args \'{"ips": ["10.1.0.5"]}\''

/**
 * The attachment with all that ADD, DEL and CHECK need. What the command line does not say, and the cache does, is as it
 * was at ADD: DEL finds all it made only when it is given the same arguments.
 */
export function readAttachment(input: Input, context: Context, cached?: CachedAttachment): Attachment {
  const id = readAttachmentId(input, context)
  const args = textOption(input, 'args', context.environment.CNI_ARGS)
  const capabilityArgs = textOption(input, 'capabilityArgs', context.environment.CAP_ARGS)
  return {
    ...id,
    netns: id.netns || (cached?.origin?.netns ?? ''),
    args: args === undefined ? (cached?.origin?.args ?? []) : readArgs(args),
    capabilityArgs:
      capabilityArgs === undefined ? (cached?.origin?.capabilityArgs ?? {}) : readCapabilityArgs(capabilityArgs),
  }
}
