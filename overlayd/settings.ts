/** The agent's settings: a YAML file, and flags that win over it. overlayd/schema.json says what there is. */

import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { parseDocument } from 'yaml'
import { schema, validate } from '#validators/overlayd'
import { formatAddress, type IpAddress, parseAddress } from '../lib/address/address.ts'
import { parseConfig } from '../lib/cni/config.ts'
import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import type { TlsFiles } from './etcd/channel.ts'
import { type LogLevel, logLevels } from './log.ts'

export const DEFAULT_SETTINGS_FILE = '/etc/cnikit/overlayd.yaml'

/** The settings in the schema's spelling, defaults filled in. */
interface SettingsDocument {
  readonly node?: string
  readonly address?: string
  readonly interface?: string
  readonly family: 4 | 6
  readonly etcd: {
    readonly endpoints: readonly string[]
    readonly prefix: string
    readonly ca?: string
    readonly cert?: string
    readonly key?: string
    readonly username?: string
    readonly passwordFile?: string
  }
  readonly socket: string
  readonly leaseSeconds: number
  readonly deadAfter: number
  readonly reconcileSeconds: number
  readonly metrics: string
  readonly logLevel: LogLevel
  readonly ipam: { readonly directory: string; readonly leaseAhead: number; readonly idle: number }
  readonly mesh: Readonly<Record<string, unknown>>
}

/** Where metrics are served. */
export interface ListenAddress {
  readonly address: string
  readonly port: number
}

export interface Settings extends Omit<SettingsDocument, 'node' | 'address' | 'interface' | 'etcd' | 'metrics'> {
  readonly node: string
  /** The tunnel address, or the interface that has it. */
  readonly tunnel: { readonly address: IpAddress } | { readonly interface: string; readonly family: 4 | 6 }
  readonly etcd: {
    readonly endpoints: readonly string[]
    readonly prefix: string
    readonly tls: TlsFiles
    readonly username?: string
    readonly password?: string
  }
  readonly metrics: ListenAddress | undefined
}

/** @throws CniError code 7 with what is wrong; code 5 for a file that cannot be read */
export function readSettings(text: string, flags: Readonly<Record<string, unknown>> = {}): Settings {
  const document = parseConfig<SettingsDocument>(merge(parseYaml(text), flags), schema, validate)
  const { node, address, interface: name, etcd, metrics, ...rest } = document
  return {
    ...rest,
    node: node ?? hostname(),
    tunnel: tunnelOf(address, name, document.family),
    etcd: {
      endpoints: etcd.endpoints,
      prefix: etcd.prefix,
      tls: tlsOf(etcd),
      ...(etcd.username === undefined ? {} : { username: etcd.username }),
      ...(etcd.passwordFile === undefined ? {} : { password: read(etcd.passwordFile).trimEnd() }),
    },
    metrics: metrics === '' ? undefined : parseListenAddress(metrics),
  }
}

function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}

function parseYaml(text: string): Readonly<Record<string, unknown>> {
  const document = parseDocument(text)
  const [error] = document.errors
  if (error !== undefined) throw invalid(`the settings are no YAML: ${error.message}`, 'correct the file')
  const value: unknown = document.toJS() ?? {}
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw invalid('the settings are no list of keys and values', 'begin with "etcd:" and its endpoints')
}

/** Flags replace single keys, also inside objects. */
function merge(
  below: Readonly<Record<string, unknown>>,
  above: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...below }
  for (const [key, value] of Object.entries(above)) {
    const old = merged[key]
    merged[key] = isObject(value) && isObject(old) ? merge(old, value) : value
  }
  return merged
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function tunnelOf(address: string | undefined, name: string | undefined, family: 4 | 6): Settings['tunnel'] {
  if ((address === undefined) === (name === undefined))
    throw invalid(
      address === undefined ? '"address" is missing' : 'both "address" and "interface" are set',
      'set "address" to the tunnel address, or "interface" to the interface that has it',
    )
  if (name !== undefined) return { interface: name, family }
  const parsed = parseAddress(address ?? '')
  if (parsed === undefined) throw invalid(`"address" is ${JSON.stringify(address)}, no IP address`, 'write 192.0.2.1')
  return { address: parsed }
}

function tlsOf({ ca, cert, key }: SettingsDocument['etcd']): TlsFiles {
  if ((cert === undefined) !== (key === undefined))
    throw invalid('"etcd.cert" and "etcd.key" go together, one of them is missing', 'set both or none')
  return {
    ...(ca === undefined ? {} : { ca: read(ca) }),
    ...(cert === undefined ? {} : { cert: read(cert) }),
    ...(key === undefined ? {} : { key: read(key) }),
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new CniError(
      ErrorCode.ioFailure,
      `cannot read ${JSON.stringify(path)}: ${error instanceof Error ? error.message : error}`,
      'the settings name it; the agent runs as root',
    )
  }
}

/** Metrics tell about containers: they are for this host alone. */
function parseListenAddress(text: string): ListenAddress {
  const [, address = '', port = ''] = /^\[?([^\]]*)\]?:(\d+)$/.exec(text) ?? []
  const parsed = parseAddress(address)
  if (parsed === undefined || !isLoopback(formatAddress(parsed)) || Number(port) > 65_535)
    throw invalid(
      `"metrics" is ${JSON.stringify(text)}`,
      'a loopback address and a port, 127.0.0.1:9478, or "" for none',
    )
  return { address: formatAddress(parsed), port: Number(port) }
}

const list = (text: string): string[] => text.split(',').map(part => part.trim())

function level(text: string): string {
  if (logLevels.some(name => name === text)) return text
  throw new InvalidArgumentError(`one of ${logLevels.join(', ')}`)
}

/** What the command line asks for. */
export type CommandLine = { readonly settings: Settings } | { readonly exitCode: number; readonly output: string }

/** @param argv without the program's name @throws CniError */
export function readCommandLine(argv: readonly string[], version: string): CommandLine {
  let output = ''
  const write = (text: string) => {
    output += text
  }
  const program = new Command('overlayd')
    .description('The agent of cnikit overlay networks: one on each host of a cluster that uses etcd.')
    .version(version)
    .option('--settings <file>', `settings, YAML (default: ${DEFAULT_SETTINGS_FILE})`)
    .option('--node <name>', "the host's name in the cluster")
    .option('--address <address>', 'tunnel address')
    .option('--interface <name>', 'interface that has the tunnel address')
    .option('--etcd-endpoints <urls>', "client URLs of etcd's members, separated by commas", list)
    .option('--etcd-prefix <prefix>', 'what all keys begin with')
    .option('--socket <path>', 'where plugins reach the agent')
    .option('--metrics <address>', 'loopback address and port of /metrics and /health, "" for none')
    .option('--log-level <level>', logLevels.join(', '), level)
    .exitOverride()
    .configureOutput({ writeOut: write, writeErr: write })
  try {
    program.parse([...argv], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return { exitCode: error.exitCode === 0 ? 0 : 2, output }
    throw error
  }
  const options = program.opts<Record<string, string | string[] | undefined>>()
  const { settings, etcdEndpoints, etcdPrefix, ...rest } = options
  const etcd = {
    ...(etcdEndpoints === undefined ? {} : { endpoints: etcdEndpoints }),
    ...(etcdPrefix === undefined ? {} : { prefix: etcdPrefix }),
  }
  const flags = { ...rest, ...(Object.keys(etcd).length === 0 ? {} : { etcd }) }
  // Flags alone may be enough: only a file that was named has to be there.
  return { settings: readSettings(typeof settings === 'string' ? read(settings) : readDefault(), flags) }
}

function readDefault(): string {
  try {
    return readFileSync(DEFAULT_SETTINGS_FILE, 'utf8')
  } catch {
    return ''
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}
