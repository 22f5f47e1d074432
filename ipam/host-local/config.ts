/** host-local's configuration: the keys of the Go plugin, with its meaning and its texts. */

import { schema, validate } from '#validators/host-local'
import type { IpAddress } from '../../lib/address/address.ts'
import { equalAddresses, formatAddress, parseAddress } from '../../lib/address/address.ts'
import { parsePrefix } from '../../lib/address/prefix.ts'
import { normalise, parseConfig } from '../../lib/cni/config.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, NetworkRequest, Route } from '../../lib/cni/types.ts'
import type { RangeOptions } from '../allocator/range.ts'
import type { RangeSet } from '../allocator/range-set.ts'
import { completeRangeSets, formatRangeSet, isGateway, rangeOf } from '../allocator/range-set.ts'
import { invalid, readAddress, readPrefix, readRoute, refuseSeveralPerFamily } from '../values.ts'

interface RangeDocument {
  subnet: string
  rangeStart?: string
  rangeEnd?: string
  gateway?: string
}

/** The document, keys in the schema's spelling. */
interface HostLocalDocument {
  ipam: Partial<RangeDocument> & {
    ranges?: RangeDocument[][]
    routes?: Route[]
    dataDir?: string
    resolvConf?: string
  }
  args?: { cni?: { ips?: string[] } }
  runtimeConfig?: { ips?: string[]; ipRanges?: RangeDocument[][] }
  capabilities?: Record<string, boolean>
}

export interface HostLocalConfig {
  /** Where the addresses of this network are kept. */
  readonly directory: string
  readonly rangeSets: readonly RangeSet[]
  readonly routes: readonly Route[]
  /** Path of a file for the result's `dns`. */
  readonly resolvConf: string | undefined
  /** Addresses that the runtime asks for, by range set; undefined for any. */
  readonly requested: readonly (IpAddress | undefined)[]
}

const defaultDataDir = '/var/lib/cni/networks'

/** @throws CniError 7 for the configuration, 4 for an address in CNI_ARGS */
export function parseHostLocalConfig(
  request: NetworkRequest & Partial<Pick<AttachmentRequest, 'args'>>,
): HostLocalConfig {
  const document = parseConfig<HostLocalDocument>(request.config, schema, validate)
  const { ipam, runtimeConfig } = document
  const legacy = ipam.subnet === undefined ? [] : [[{ ...ipam, subnet: ipam.subnet }]]
  const configured = [
    ...named('runtimeConfig.ipRanges', runtimeConfig?.ipRanges ?? []),
    ...legacy.map(set => set.map(range => readRange(range, 'ipam'))),
    ...named('ipam.ranges', ipam.ranges ?? []),
  ]
  // STATUS comes without what the runtime gives with each attachment.
  const areGivenLater = request.command === 'STATUS' && document.capabilities?.ipRanges === true
  if (configured.length === 0 && !areGivenLater)
    throw invalid(
      'no IP ranges specified',
      'set ipam.ranges, [[{"subnet": "10.1.0.0/16"}]] for example, or the capability ipRanges and let the runtime give them',
    )
  const rangeSets = completeRangeSets(configured)
  refuseSeveralPerFamily(
    request.cniVersion,
    rangeSets.map(set => set[0]?.start.length),
  )
  return {
    directory: directoryOf(request.network, ipam.dataDir),
    rangeSets,
    routes: (ipam.routes ?? []).map(readRoute),
    resolvConf: ipam.resolvConf || undefined,
    requested: assignRequested(requestedAddresses(document, request.args), rangeSets),
  }
}

/**
 * The network's directory, for verbs that need nothing else: giving addresses back must work without the ranges, which
 * the runtime may not give again.
 * @throws CniError 7
 */
export function parseDirectory(request: NetworkRequest): string {
  const document = normalise(request.config, schema) as { ipam?: { dataDir?: unknown } }
  const dataDir = document.ipam?.dataDir ?? ''
  if (typeof dataDir !== 'string' || !/^(\/|$)/.test(dataDir))
    throw invalid(
      `"ipam.dataDir" is ${JSON.stringify(dataDir)}, but must be an absolute path`,
      `leave it out for the default, ${defaultDataDir}`,
    )
  return directoryOf(request.network, dataDir)
}

function directoryOf(network: string, dataDir: string | undefined): string {
  return `${dataDir || defaultDataDir}/${network}`
}

function named(path: string, sets: readonly (readonly RangeDocument[])[]): RangeOptions[][] {
  return sets.map((set, index) => set.map((range, position) => readRange(range, `${path}[${index}][${position}]`)))
}

function readRange({ subnet, rangeStart, rangeEnd, gateway }: RangeDocument, path: string): RangeOptions {
  return {
    subnet: readPrefix(subnet, `${path}.subnet`),
    rangeStart: readAddress(rangeStart, `${path}.rangeStart`),
    rangeEnd: readAddress(rangeEnd, `${path}.rangeEnd`),
    gateway: readAddress(gateway, `${path}.gateway`),
  }
}

/** From CNI_ARGS, args and runtimeConfig together, each once. */
function requestedAddresses(
  { args, runtimeConfig }: HostLocalDocument,
  cniArguments: ReadonlyMap<string, string> | undefined,
): IpAddress[] {
  const fromArguments = cniArguments?.get('IP')
  const all = [
    ...(fromArguments ? [readRequested(fromArguments, 'IP in CNI_ARGS', ErrorCode.invalidEnvironment)] : []),
    ...(args?.cni?.ips ?? []).map((text, index) => readRequested(text, `args.cni.ips[${index}]`)),
    ...(runtimeConfig?.ips ?? []).map((text, index) => readRequested(text, `runtimeConfig.ips[${index}]`)),
  ]
  return all.filter((address, index) => all.findIndex(other => equalAddresses(other, address)) === index)
}

/** A prefix length may stand there; it is the range's that counts. */
function readRequested(text: string, path: string, code: number = ErrorCode.invalidNetworkConfig): IpAddress {
  const address = parseAddress(text) ?? parsePrefix(text)?.address
  if (address !== undefined) return address
  throw new CniError(
    code,
    `cannot understand ip: ${path} is ${JSON.stringify(text)}`,
    'give an address: "10.1.0.5", "2001:db8::5"',
  )
}

/** Gives each range set the address that is asked of it. @throws CniError 7 when one is left over, or is a gateway */
function assignRequested(addresses: readonly IpAddress[], sets: readonly RangeSet[]): (IpAddress | undefined)[] {
  const left = new Set(addresses)
  const assigned = sets.map((set, index) => {
    const address = addresses.find(candidate => left.has(candidate) && rangeOf(set, candidate) !== undefined)
    if (address === undefined) return undefined
    left.delete(address)
    if (isGateway(set, address))
      throw invalid(
        `failed to allocate for range ${index}: requested ip ${formatAddress(address)} is subnet's gateway`,
        'ask for another address, or set another gateway for the range',
      )
    return address
  })
  if (left.size > 0)
    throw invalid(
      `failed to allocate all requested IPs: ${[...left].map(formatAddress).join(' ')}`,
      `one address is taken from each range set: ${sets.map(formatRangeSet).join(' and ')}`,
    )
  return assigned
}
