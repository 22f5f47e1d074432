/** GC, STATUS and VERSION: what concerns a network as a whole. */

import { findPlugin } from '../cni/delegate.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { AttachmentId } from '../cni/types.ts'
import { expectObject, expectSuccess, PluginError } from './answer.ts'
import { delNetwork } from './attachment.ts'
import { listCache } from './cache.ts'
import type { Network } from './conflist.ts'
import type { PluginCall } from './plugin-call.ts'
import { pluginEnvironment } from './plugin-call.ts'
import type { Runtime } from './runtime.ts'
import { callPlugin } from './runtime.ts'
import { compareVersions, newestVersion } from './version.ts'

/** Since this version GC and STATUS exist. */
const GC_AND_STATUS_SINCE = '1.1.0'

export interface GcReport {
  /** Cached attachments that were not in the list, and were deleted. */
  readonly deleted: readonly AttachmentId[]
  /** Whether the plugins were given GC: not below 1.1.0, and not when the network has GC disabled. */
  readonly forwarded: boolean
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

/**
 * Removes what belongs to the network and to none of the valid attachments: DEL for each cached attachment that is not
 * among them, then GC for every plugin. All are tried; the errors come together at the end.
 * @param valid Undefined means that nobody says what is valid: no attachment is deleted, and the plugins are not told
 *   a list either (libcni deletes every attachment then).
 * @throws CniError with the first error's code, and all of them in `details`
 */
export async function gcNetwork(
  runtime: Runtime,
  network: Network,
  valid: readonly AttachmentId[] | undefined,
): Promise<GcReport> {
  const deleted: AttachmentId[] = []
  if (network.disableGc) return { deleted, forwarded: false }

  const errors: Error[] = []
  const isValid = (id: AttachmentId) =>
    valid === undefined || valid.some(other => other.containerId === id.containerId && other.ifname === id.ifname)
  for (const cached of listCache(runtime.cacheDirectory, runtime.warn)) {
    if (cached.network !== network.name || cached.origin === undefined || isValid(cached)) continue
    const { containerId, ifname } = cached
    const { netns, args, capabilityArgs } = cached.origin
    try {
      await delNetwork(runtime, network, { containerId, ifname, netns, args, capabilityArgs })
      deleted.push({ containerId, ifname })
    } catch (error) {
      errors.push(new Error(`DEL of ${containerId}/${ifname}: ${asError(error).message}`, { cause: error }))
    }
  }

  const forwarded = compareVersions(network.cniVersion, GC_AND_STATUS_SINCE) >= 0
  for (const plugin of forwarded ? network.plugins : []) {
    try {
      const [call, outcome] = await callPlugin(runtime, 'GC', network, plugin, undefined, { validAttachments: valid })
      expectSuccess(call, outcome)
    } catch (error) {
      errors.push(new Error(`plugin ${JSON.stringify(plugin.type)}: ${asError(error).message}`, { cause: error }))
    }
  }

  const [first] = errors
  if (first !== undefined) {
    throw new CniError(
      first.cause instanceof CniError ? first.cause.code : ErrorCode.internal,
      `GC of network ${JSON.stringify(network.name)} is not complete: ${errors.length} of its steps failed`,
      errors.map(error => error.message).join('\n'),
      { cause: new AggregateError(errors) },
    )
  }
  return { deleted, forwarded }
}

/**
 * Asks every plugin whether ADD can be served. False for a network older than STATUS, and nobody was asked.
 * @throws PluginError the first that says no: code 50 or 51
 */
export async function networkStatus(runtime: Runtime, network: Network): Promise<boolean> {
  if (compareVersions(network.cniVersion, GC_AND_STATUS_SINCE) < 0) return false
  for (const plugin of network.plugins) {
    const [call, outcome] = await callPlugin(runtime, 'STATUS', network, plugin)
    expectSuccess(call, outcome)
  }
  return true
}

export interface PluginVersions {
  readonly type: string
  readonly file: string
  readonly supportedVersions: readonly string[]
}

/** The versions that a plugin speaks. One of before VERSION existed speaks 0.1.0. @throws CniError */
export async function pluginVersions(runtime: Runtime, type: string): Promise<PluginVersions> {
  const file = findPlugin(runtime.path, type)
  const call: PluginCall = {
    command: 'VERSION',
    plugin: type,
    file,
    environment: {
      ...pluginEnvironment(runtime.environment, 'VERSION', runtime.path),
      // Old plugins refuse to start without them, whatever they are.
      CNI_NETNS: 'dummy',
      CNI_IFNAME: 'dummy',
      CNI_PATH: 'dummy',
    },
    input: JSON.stringify({ cniVersion: newestVersion }),
    signal: runtime.signal,
  }
  const outcome = await runtime.run(call)
  try {
    const { supportedVersions } = expectObject(call, outcome)
    const versions = Array.isArray(supportedVersions) ? supportedVersions : []
    return { type, file, supportedVersions: versions.filter(version => typeof version === 'string') }
  } catch (error) {
    if (!(error instanceof PluginError) || !error.message.includes('unknown CNI_COMMAND: VERSION')) throw error
    return { type, file, supportedVersions: ['0.1.0'] }
  }
}

/** The versions of every plugin of a network, each executable asked once. @throws CniError */
export async function networkVersions(runtime: Runtime, network: Network): Promise<PluginVersions[]> {
  const types = [...new Set(network.plugins.map(plugin => plugin.type))]
  return Promise.all(types.map(type => pluginVersions(runtime, type)))
}
