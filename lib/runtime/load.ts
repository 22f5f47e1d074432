/** Finding a network's configuration in a directory, by libcni's order. */

import { CniError, ErrorCode } from '../cni/errors.ts'
import { FileType, listDirectory, readFile, statusOf } from '../sys/file.ts'
import type { Network, PluginConfig } from './conflist.ts'
import { parseConflist, parsePluginConfig, parseSinglePlugin, withPlugins } from './conflist.ts'

/** A file that could not be used. */
export interface BrokenFile {
  readonly path: string
  readonly error: Error
  /** The name that the file gives its network, where that could be read. */
  readonly network: string | undefined
}

/** What a configuration directory holds. */
export interface NetworkDirectory {
  /** In the order of the search: `*.conflist` by name, then `*.conf` and `*.json` by name. */
  readonly networks: readonly { readonly path: string; readonly network: Network }[]
  readonly broken: readonly BrokenFile[]
}

/** The files of a directory with one of the endings, by name. @throws CniError 5 */
function filesWithEnding(directory: string, endings: readonly string[]): string[] {
  let names: string[] | undefined
  try {
    names = listDirectory(directory)
  } catch (error) {
    throw unreadable(directory, error)
  }
  return (names ?? [])
    .filter(name => endings.some(ending => name.endsWith(ending)))
    .sort()
    .map(name => `${directory}/${name}`)
    .filter(path => !isDirectory(path))
}

function isDirectory(path: string): boolean {
  const status = statusOf(path)
  return status !== undefined && (status.mode & FileType.MASK) === FileType.DIRECTORY
}

function unreadable(path: string, error: unknown): CniError {
  const reason = error instanceof Error ? error.message : String(error)
  return new CniError(ErrorCode.ioFailure, `${JSON.stringify(path)} cannot be read: ${reason}`, undefined, {
    cause: error,
  })
}

/** The plugins of a network's own directory: `<directory>/<network>/*.conf`. @throws CniError 5, 6 or 7 naming the file */
function loadPluginDirectory(directory: string, network: string): PluginConfig[] {
  return filesWithEnding(`${directory}/${network}`, ['.conf']).map(path => {
    try {
      return parsePluginConfig(readFile(path))
    } catch (error) {
      if (!(error instanceof CniError)) throw unreadable(path, error)
      throw new CniError(error.code, `${JSON.stringify(path)}: ${error.message}`, error.details, { cause: error })
    }
  })
}

/** The network together with the plugins of its own directory, unless it takes only the inlined. @throws CniError */
export function completeNetwork(directory: string, network: Network): Network {
  return withPlugins(network, network.loadOnlyInlinedPlugins ? [] : loadPluginDirectory(directory, network.name))
}

/** The name that a text gives its network even when the rest of it is not in order. */
function claimedName(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const name = typeof value === 'object' && value !== null && 'name' in value ? value.name : undefined
    return typeof name === 'string' ? name : undefined
  } catch {
    return undefined
  }
}

/** Reads every configuration of a directory; what cannot be used is reported and not thrown. */
export function readNetworkDirectory(directory: string): NetworkDirectory {
  const networks: { path: string; network: Network }[] = []
  const broken: BrokenFile[] = []
  const read = (path: string, parse: (text: string) => Network) => {
    let text = ''
    try {
      text = readFile(path)
      networks.push({ path, network: parse(text) })
    } catch (error) {
      const reason = error instanceof CniError ? error : unreadable(path, error)
      broken.push({ path, error: reason, network: claimedName(text) })
    }
  }
  for (const path of filesWithEnding(directory, ['.conflist'])) {
    read(path, text => completeNetwork(directory, parseConflist(text)))
  }
  for (const path of filesWithEnding(directory, ['.conf', '.json'])) read(path, parseSinglePlugin)
  return { networks, broken }
}

function describe(file: BrokenFile): string {
  return `${file.path}: ${file.error.message}`
}

/**
 * The first network of that name. Unlike libcni, which gives up at the first file that it cannot read, a broken file
 * of another network is passed over with a warning.
 * @throws CniError 7 when there is none, with the names there are and the files that could not be read
 */
export function loadNetwork(directory: string, name: string, warn: (message: string) => void): Network {
  const { networks, broken } = readNetworkDirectory(directory)
  const [own] = broken.filter(file => file.network === name)
  if (own !== undefined) {
    throw new CniError(
      own.error instanceof CniError ? own.error.code : ErrorCode.invalidNetworkConfig,
      `network ${JSON.stringify(name)} cannot be used: ${describe(own)}`,
      own.error instanceof CniError ? own.error.details : undefined,
      { cause: own.error },
    )
  }
  const found = networks.find(({ network }) => network.name === name)
  if (found !== undefined) {
    for (const file of broken) warn(`passed over ${describe(file)}`)
    return found.network
  }
  const names = [...new Set(networks.map(({ network }) => network.name))].sort()
  const details = [
    names.length === 0
      ? `no file there (*.conflist, *.conf, *.json) is a usable network configuration`
      : `networks there: ${names.join(', ')}`,
    ...broken.map(file => `could not be used: ${describe(file)}`),
  ]
  throw new CniError(
    ErrorCode.invalidNetworkConfig,
    `no network named ${JSON.stringify(name)} in ${JSON.stringify(directory)}`,
    details.join('\n'),
  )
}
