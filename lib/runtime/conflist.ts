/**
 * Network configurations as a runtime reads them (SPEC 1.1.0, section 1), without any I/O.
 * What is accepted is what libcni accepts; what is refused is refused with the key and the value.
 */

import { checkNetworkName } from '../cni/environment.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import { isVersion, selectVersion } from './version.ts'

/** A plugin of a network: an element of `plugins`, or a file of the network's own directory. */
export interface PluginConfig {
  /** Name of the executable. */
  readonly type: string
  /** Names of the capabilities that the plugin is declared to have. */
  readonly capabilities: readonly string[]
  /** The object as it was written. */
  readonly raw: Readonly<Record<string, unknown>>
}

export interface Network {
  readonly name: string
  /** Chosen from `cniVersion` and `cniVersions`; a version unknown here only when no other is named. */
  readonly cniVersion: string
  readonly disableCheck: boolean
  readonly disableGc: boolean
  readonly loadOnlyInlinedPlugins: boolean
  readonly plugins: readonly PluginConfig[]
  /** The list's text as the result cache keeps it. */
  readonly text: string
}

function invalid(message: string, details?: string): CniError {
  return new CniError(ErrorCode.invalidNetworkConfig, message, details)
}

/** What a value is, for messages: "a number", "null". */
function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CniError(ErrorCode.decodeFailure, `not JSON: ${reason}`, undefined, { cause: error })
  }
  if (!isObject(value)) throw invalid(`a network configuration is a JSON object, not ${kindOf(value)}`)
  return value
}

function readName(list: Record<string, unknown>): string {
  if (list.name === undefined) throw invalid('the key "name" is missing', 'give the network a name')
  if (typeof list.name !== 'string') throw invalid(`"name" is a string, not ${kindOf(list.name)}`)
  checkNetworkName(list.name)
  return list.name
}

function readVersion(value: unknown, key: string): string {
  if (typeof value !== 'string') throw invalid(`${key} is a string, not ${kindOf(value)}`)
  if (!isVersion(value)) throw invalid(`${key} is no version: ${JSON.stringify(value)}`, 'write it like "1.1.0"')
  return value
}

function readCniVersion(list: Record<string, unknown>): string {
  // As in Go's decoding an empty text is an absent one.
  const single =
    list.cniVersion === undefined || list.cniVersion === '' ? undefined : readVersion(list.cniVersion, '"cniVersion"')
  if (list.cniVersions === undefined) return selectVersion(single, undefined)
  if (!Array.isArray(list.cniVersions)) throw invalid(`"cniVersions" is an array, not ${kindOf(list.cniVersions)}`)
  const alternatives = list.cniVersions.map((value, index) => readVersion(value, `"cniVersions[${index}]"`))
  return selectVersion(single, alternatives)
}

/** Booleans, and the strings "true" and "false" in any case: libcni takes both. */
function readBoolean(list: Record<string, unknown>, key: string): boolean {
  const value = list[key]
  if (value === undefined) return false
  if (typeof value === 'boolean') return value
  const text = typeof value === 'string' ? value.toLowerCase() : ''
  if (text !== 'true' && text !== 'false') {
    throw invalid(`"${key}" is true or false, not ${JSON.stringify(value)}`)
  }
  return text === 'true'
}

/** A plugin's key as Go decodes it: the exact spelling, else one that differs in case. Null is unset. */
function pluginKey(raw: Readonly<Record<string, unknown>>, key: string): unknown {
  const name = key in raw ? key : Object.keys(raw).find(other => other.toLowerCase() === key.toLowerCase())
  return name === undefined ? undefined : (raw[name] ?? undefined)
}

function readCapabilities(value: unknown): string[] {
  if (value === undefined) return []
  if (!isObject(value)) throw invalid(`"capabilities" is an object, not ${kindOf(value)}`)
  for (const [name, declared] of Object.entries(value)) {
    if (declared !== null && typeof declared !== 'boolean') {
      throw invalid(`capability ${JSON.stringify(name)} is true or false, not ${JSON.stringify(declared)}`)
    }
  }
  return Object.keys(value).filter(name => value[name] === true)
}

function readPlugin(value: unknown): PluginConfig {
  if (!isObject(value)) throw invalid(`a plugin is an object, not ${kindOf(value)}`)
  const type = pluginKey(value, 'type')
  if (type === undefined || type === '') {
    throw invalid(
      'the key "type" is missing',
      'plugins' in value
        ? 'this file holds a list of plugins: give it a name that ends in .conflist'
        : 'name the plugin\'s executable: "type": "bridge"',
    )
  }
  if (typeof type !== 'string') throw invalid(`"type" is a string, not ${kindOf(type)}`)
  if (type.includes('/')) {
    throw invalid(
      `"type" is the name of an executable without a directory, not ${JSON.stringify(type)}`,
      'add the directory to the search path (CNI_PATH) and leave only the name',
    )
  }
  return { type, capabilities: readCapabilities(pluginKey(value, 'capabilities')), raw: value }
}

/** Runs a reader and says where in the file its complaint belongs. */
function within<T>(place: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw new CniError(error.code, `${place}: ${error.message}`, error.details, { cause: error })
  }
}

function readPlugins(list: Record<string, unknown>, onlyInlined: boolean): PluginConfig[] {
  if (list.plugins === undefined) {
    if (onlyInlined) throw invalid('"loadOnlyInlinedPlugins" is true, and there is no key "plugins"')
    return []
  }
  if (!Array.isArray(list.plugins)) throw invalid(`"plugins" is an array, not ${kindOf(list.plugins)}`)
  if (list.plugins.length === 0) throw invalid('"plugins" is empty', 'a network needs at least one plugin')
  return list.plugins.map((plugin, index) => within(`plugins[${index}]`, () => readPlugin(plugin)))
}

/**
 * Reads a `*.conflist`. Its `plugins` may be absent when they come from the network's directory: see `withPlugins`.
 * @throws CniError 6 for what is no JSON, 7 for what is no configuration
 */
export function parseConflist(text: string): Network {
  const list = parseObject(text)
  const loadOnlyInlinedPlugins = readBoolean(list, 'loadOnlyInlinedPlugins')
  return {
    name: readName(list),
    cniVersion: readCniVersion(list),
    disableCheck: readBoolean(list, 'disableCheck'),
    disableGc: readBoolean(list, 'disableGC'),
    loadOnlyInlinedPlugins,
    plugins: readPlugins(list, loadOnlyInlinedPlugins),
    text,
  }
}

/** Reads one plugin: a file of the network's own directory. @throws CniError 6 or 7 */
export function parsePluginConfig(text: string): PluginConfig {
  return readPlugin(parseObject(text))
}

/** Reads a `*.conf` or `*.json` of the time before lists: one plugin, which becomes a list of one. @throws CniError 6 or 7 */
export function parseSinglePlugin(text: string): Network {
  const plugin = parsePluginConfig(text)
  const list = { name: pluginKey(plugin.raw, 'name'), cniVersion: pluginKey(plugin.raw, 'cniVersion') }
  return parseConflist(JSON.stringify({ ...list, plugins: [plugin.raw] }))
}

/** The network with the plugins of its own directory after the inlined ones. @throws CniError 7 when there is none */
export function withPlugins(network: Network, plugins: readonly PluginConfig[]): Network {
  const all = [...network.plugins, ...plugins]
  if (all.length === 0) {
    throw invalid(
      `network ${JSON.stringify(network.name)} has no plugin`,
      `write them under "plugins", or as *.conf files into the directory "${network.name}" beside the list`,
    )
  }
  return { ...network, plugins: all }
}
