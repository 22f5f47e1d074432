/** ADD, DEL and CHECK of a network: its plugins as a chain (SPEC 1.1.0, section 3). */

import { checkContainerId, checkInterfaceName } from '../cni/environment.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import { expectResult, expectSuccess } from './answer.ts'
import type { CachedAttachment } from './cache.ts'
import { deleteCache, readCache, writeCache } from './cache.ts'
import type { Network } from './conflist.ts'
import type { Attachment } from './plugin-call.ts'
import type { ResultDocument } from './plugin-input.ts'
import { resultInVersion } from './result-version.ts'
import type { Runtime } from './runtime.ts'
import { callPlugin } from './runtime.ts'
import { compareVersions } from './version.ts'

/** Since this version DEL is given the result of ADD, and CHECK exists. */
const CHECK_SINCE = '0.4.0'

function describe(network: Network, attachment: Attachment): string {
  return `container ${JSON.stringify(attachment.containerId)}, interface ${attachment.ifname}, network ${JSON.stringify(network.name)}`
}

/** Both become part of a file's name in the cache, so they are checked before any plugin does it. @throws CniError 4 */
function checkNames(attachment: Attachment): void {
  checkContainerId(attachment.containerId)
  checkInterfaceName(attachment.ifname)
}

/**
 * Attaches a container: every plugin in order, each given the result of the one before; the last result is kept in the
 * cache and returned. After a failure the caller owes a DEL: nothing is undone here.
 * @throws PluginError a plugin's own; CniError
 */
export async function addNetwork(runtime: Runtime, network: Network, attachment: Attachment): Promise<ResultDocument> {
  checkNames(attachment)
  const { capabilityArgs } = attachment
  let prevResult: ResultDocument | undefined
  for (const plugin of network.plugins) {
    const additions = { capabilityArgs, prevResult }
    const [call, outcome] = await callPlugin(runtime, 'ADD', network, plugin, attachment, additions)
    prevResult = expectResult(call, outcome, network.cniVersion)
  }
  // A network that was loaded has a plugin.
  const result = prevResult ?? { cniVersion: network.cniVersion }
  try {
    writeCache(runtime.cacheDirectory, network, attachment, result)
  } catch (error) {
    throw new CniError(
      ErrorCode.ioFailure,
      `the result for ${describe(network, attachment)} cannot be kept: ${error instanceof Error ? error.message : error}`,
      `DEL and CHECK need it: make ${JSON.stringify(runtime.cacheDirectory)} writable, or choose another cache directory`,
      { cause: error },
    )
  }
  return result
}

/** The result of ADD for DEL: without it DEL has to do, so whatever is wrong with it is told and the file removed. */
function resultForDel(runtime: Runtime, network: Network, attachment: Attachment): ResultDocument | undefined {
  if (compareVersions(network.cniVersion, CHECK_SINCE) < 0) return undefined
  try {
    const cached = readCache(runtime.cacheDirectory, network.name, attachment)
    return cached && resultInVersion(cached.result, network.cniVersion)
  } catch (error) {
    runtime.warn(`going on without the result of ADD: ${error instanceof Error ? error.message : error}`)
    deleteCache(runtime.cacheDirectory, network.name, attachment)
    return undefined
  }
}

/**
 * Detaches a container: every plugin in reverse order, up to the first failure; the cached result goes when all have
 * succeeded. May be repeated, also for what was never attached.
 * @throws PluginError a plugin's own; CniError
 */
export async function delNetwork(runtime: Runtime, network: Network, attachment: Attachment): Promise<void> {
  checkNames(attachment)
  const { capabilityArgs } = attachment
  const additions = { capabilityArgs, prevResult: resultForDel(runtime, network, attachment) }
  for (const plugin of network.plugins.toReversed()) {
    const [call, outcome] = await callPlugin(runtime, 'DEL', network, plugin, attachment, additions)
    expectSuccess(call, outcome)
  }
  deleteCache(runtime.cacheDirectory, network.name, attachment)
}

/**
 * Asks every plugin in order whether the attachment is as ADD left it. False when the network has CHECK disabled, and
 * nobody was asked.
 * @throws PluginError what is not in order; CniError 1 for a network older than CHECK, 3 for an attachment not known
 */
export async function checkNetwork(runtime: Runtime, network: Network, attachment: Attachment): Promise<boolean> {
  checkNames(attachment)
  if (compareVersions(network.cniVersion, CHECK_SINCE) < 0) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      `configuration version ${JSON.stringify(network.cniVersion)} does not support the CHECK command`,
      `CHECK came with ${CHECK_SINCE}: raise "cniVersion" of network ${JSON.stringify(network.name)}`,
    )
  }
  if (network.disableCheck) return false
  const cached: CachedAttachment | undefined = readCache(runtime.cacheDirectory, network.name, attachment)
  if (cached === undefined) {
    throw new CniError(
      ErrorCode.unknownContainer,
      `nothing is known of ${describe(network, attachment)}`,
      `CHECK compares with the result of ADD, and ${JSON.stringify(runtime.cacheDirectory)} holds none for it`,
    )
  }
  const prevResult = resultInVersion(cached.result, network.cniVersion)
  const { capabilityArgs } = attachment
  for (const plugin of network.plugins) {
    const [call, outcome] = await callPlugin(runtime, 'CHECK', network, plugin, attachment, {
      capabilityArgs,
      prevResult,
    })
    expectSuccess(call, outcome)
  }
  return true
}
