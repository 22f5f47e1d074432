/** From the environment and standard input to a verb's request, with every check that needs no more than these. */

import { schema, validate } from '#validators/cni'
import { parseArguments, parseArgumentsLeniently } from './arguments.ts'
import { parseConfig } from './config.ts'
import type { Environment } from './environment.ts'
import { checkContainerId, checkInterfaceName, checkNetworkName, pluginDirectories } from './environment.ts'
import { CniError, ErrorCode } from './errors.ts'
import { describeSyntaxError } from './json-syntax.ts'
import { isCniVersion, parseResult } from './results/index.ts'
import type {
  AttachmentRequest,
  CniVersion,
  Command,
  GcRequest,
  NetworkConfig,
  NetworkRequest,
  Plugin,
  Result,
} from './types.ts'
import { cniVersions } from './types.ts'

/** The keys of lib/cni/schema.json that are read here, in its spelling. */
export interface BaseDocument {
  readonly cniVersion?: string
  readonly name?: string
  readonly ipam?: { readonly type?: string }
  readonly prevResult?: Readonly<Record<string, unknown>>
  readonly 'cni.dev/valid-attachments'?: readonly AttachmentEntry[]
  /** What a draft of 1.1.0 called it; libcni sends both. */
  readonly 'cni.dev/attachments'?: readonly AttachmentEntry[]
}

interface AttachmentEntry {
  readonly containerID: string
  readonly ifname: string
}

/** The version that is meant when a configuration names none. */
const oldestVersion = cniVersions[0]

/** Verbs that came after 0.1.0. */
const oldestVersionOf: Readonly<Partial<Record<Command, CniVersion>>> = {
  CHECK: '0.4.0',
  GC: '1.1.0',
  STATUS: '1.1.0',
}

/** @throws CniError code 6 for what is no JSON object */
export function parseStdin(stdin: string): Readonly<Record<string, unknown>> {
  let config: unknown
  try {
    config = JSON.parse(stdin)
  } catch (error) {
    const reason = describeSyntaxError(stdin) ?? (error instanceof Error ? error.message : String(error))
    throw new CniError(
      ErrorCode.decodeFailure,
      `error unmarshall network config: ${reason}`,
      'standard input must hold one JSON document, the network configuration',
    )
  }
  if (typeof config === 'object' && config !== null && !Array.isArray(config)) return config as Record<string, unknown>
  throw new CniError(
    ErrorCode.decodeFailure,
    'error unmarshall network config: it is not a JSON object',
    'standard input must hold the network configuration: {"cniVersion": ..., "name": ..., "type": ...}',
  )
}

/** The keys that every configuration has. @throws CniError code 7 */
export function parseBase(config: Readonly<Record<string, unknown>>): BaseDocument {
  const base = parseConfig<BaseDocument>(config, schema, validate)
  checkNetworkName(base.name ?? '')
  return base
}

/** The configuration's version, when the plugin has it and it has the verb. @throws CniError code 1 */
export function negotiateVersion(base: BaseDocument, plugin: Plugin, command: Command): CniVersion {
  const text = base.cniVersion || oldestVersion
  if (!isCniVersion(text) || !plugin.supportedVersions.includes(text)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      'incompatible CNI versions',
      `config is "${text}", plugin supports [${plugin.supportedVersions.map(version => `"${version}"`).join(' ')}]`,
    )
  }
  const oldest = oldestVersionOf[command]
  if (oldest !== undefined && cniVersions.indexOf(text) < cniVersions.indexOf(oldest)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `config version does not allow ${command}`,
      `config is "${text}"; ${command} needs "cniVersion" ${oldest} or newer`,
    )
  }
  return text
}

/** What every verb is given. */
export function networkRequest(
  command: Command,
  cniVersion: CniVersion,
  base: BaseDocument,
  input: { config: Readonly<Record<string, unknown>>; stdin: string; environment: Environment },
  builtins: ReadonlyMap<string, Plugin>,
): NetworkRequest {
  return {
    command,
    cniVersion,
    network: base.name ?? '',
    config: input.config as NetworkConfig,
    stdin: input.stdin,
    path: pluginDirectories(input.environment),
    environment: input.environment,
    builtins,
  }
}

/** ADD, DEL and CHECK. @param warn is told what DEL goes on without @throws CniError codes 4 and 7 */
export function attachmentRequest(
  request: NetworkRequest,
  base: BaseDocument,
  plugin: Plugin,
  warn: (message: string) => void,
): AttachmentRequest {
  const { environment, command } = request
  const containerId = environment.CNI_CONTAINERID ?? ''
  const ifname = environment.CNI_IFNAME ?? ''
  checkContainerId(containerId)
  checkInterfaceName(ifname)
  return {
    ...request,
    containerId,
    ifname,
    netns: environment.CNI_NETNS ?? '',
    args: readArguments(request, plugin),
    prevResult: command === 'DEL' ? prevResultIfGood(request, base, warn) : prevResult(request, base),
  }
}

/** Plugins called in the same process count with their keys; DEL takes what can be read. */
function readArguments(request: NetworkRequest, plugin: Plugin): ReadonlyMap<string, string> {
  const text = request.environment.CNI_ARGS ?? ''
  if (text === '') return new Map()
  if (request.command === 'DEL') return parseArgumentsLeniently(text)
  const declared = [plugin, ...request.builtins.values()].flatMap(({ arguments: known }) => (known ? [known] : []))
  return parseArguments(text, declared.length === 0 ? undefined : declared.flat())
}

function prevResult(request: NetworkRequest, base: BaseDocument): Result | undefined {
  if (base.prevResult === undefined) {
    if (request.command !== 'CHECK') return undefined
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      'Required prevResult missing',
      'CHECK compares with the result of ADD, which the runtime keeps and gives as "prevResult"',
    )
  }
  try {
    return parseResult(base.prevResult, request.cniVersion)
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw new CniError(error.code, `prevResult: ${error.message}`, error.details, { cause: error })
  }
}

/** DEL works without: a cache written by another version, or cut by a crash, must not keep a container alive. */
function prevResultIfGood(request: NetworkRequest, base: BaseDocument, warn: (message: string) => void) {
  try {
    return prevResult(request, base)
  } catch (error) {
    warn(`${error instanceof Error ? error.message : String(error)}; DEL goes on without it`)
    return undefined
  }
}

export function gcRequest(request: NetworkRequest, base: BaseDocument): GcRequest {
  const entries = base['cni.dev/valid-attachments'] ?? base['cni.dev/attachments']
  return {
    ...request,
    validAttachments: entries?.map(({ containerID, ifname }) => ({ containerId: containerID, ifname })),
  }
}
