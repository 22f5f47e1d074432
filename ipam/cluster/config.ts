/** cluster's configuration: host-local's keys, and what the blocks need besides. */

import { schema, validate } from '#validators/cluster'
import type { IpAddress } from '../../lib/address/address.ts'
import { formatPrefix } from '../../lib/address/prefix.ts'
import { normalise, parseConfig } from '../../lib/cni/config.ts'
import { readResolvConf } from '../../lib/cni/resolv-conf.ts'
import type { AttachmentRequest, Dns, NetworkRequest, Route } from '../../lib/cni/types.ts'
import { DEFAULT_AGENT_SOCKET } from '../../lib/overlay/agent-protocol.ts'
import type { Range, RangeOptions } from '../allocator/range.ts'
import { completeRangeSets } from '../allocator/range-set.ts'
import type { StateOptions } from '../allocator/state.ts'
import { type RangeDocument, readRange } from '../range-document.ts'
import { assignRequested, type RequestDocument, requestedAddresses } from '../requested.ts'
import { invalid, readDataDirectory, readRoute, refuseSeveralPerFamily } from '../values.ts'
import type { PoolRange } from './pool-range.ts'
import { defaultBlockLength } from './pool-range.ts'

interface PoolRangeDocument extends RangeDocument {
  blockLength?: number
}

/** The document, keys in the schema's spelling. */
interface ClusterDocument extends RequestDocument {
  ipam: Partial<PoolRangeDocument> & {
    pool?: string
    ranges?: PoolRangeDocument[][]
    routes?: Route[]
    dns?: Dns
    resolvConf?: string
    coolDown?: number
    dataDir?: string
    socket?: string
  }
  runtimeConfig?: RequestDocument['runtimeConfig'] & { ipRanges?: unknown[] }
}

/** What is known without the ranges. */
export interface ClusterStore extends Required<StateOptions> {
  /** What all networks of this node have in common; see state-files.ts. */
  readonly dataDirectory: string
}

export interface ClusterConfig extends ClusterStore {
  readonly network: string
  readonly pool: string
  readonly rangeSets: readonly (readonly PoolRange[])[]
  readonly routes: readonly Route[]
  readonly dns: Dns | undefined
  /** Addresses that the runtime asks for, by range set; undefined for any. */
  readonly requested: readonly (IpAddress | undefined)[]
  /** Where overlayd listens. */
  readonly socket: string
}

const defaultDataDirectory = '/var/lib/cni/cluster'
const defaultCoolDownSeconds = 60

/** @throws CniError 7 for the configuration, 4 for an address in CNI_ARGS */
export function parseClusterConfig(request: NetworkRequest & Partial<Pick<AttachmentRequest, 'args'>>): ClusterConfig {
  const document = parseConfig<ClusterDocument>(request.config, schema, validate)
  const { ipam, runtimeConfig } = document
  if (runtimeConfig?.ipRanges?.length)
    throw invalid(
      '"runtimeConfig.ipRanges" is set, but a pool of the whole cluster is not given its ranges by one attachment',
      'remove the capability "ipRanges", and set "ipam.ranges"',
    )
  const sets = [
    ...(ipam.subnet === undefined ? [] : [[readPoolRange({ ...ipam, subnet: ipam.subnet }, 'ipam')]]),
    ...(ipam.ranges ?? []).map((set, index) =>
      set.map((range, position) => readPoolRange(range, `ipam.ranges[${index}][${position}]`)),
    ),
  ]
  if (sets.length === 0)
    throw invalid('no IP ranges specified', 'set "ipam.subnet", "10.1.0.0/16" for example, or "ipam.ranges"')
  const rangeSets = completeRangeSets(sets).map((set, index) =>
    set.map((range, position) => withBlocks(range, sets[index]?.[position])),
  )
  refuseSeveralPerFamily(
    request.cniVersion,
    rangeSets.map(set => set[0]?.start.length),
  )
  return {
    ...parseClusterStore(request),
    network: request.network,
    pool: ipam.pool ?? request.network,
    rangeSets,
    routes: (ipam.routes ?? []).map(readRoute),
    dns: ipam.dns ?? (ipam.resolvConf ? readResolvConf(ipam.resolvConf, 'ipam.resolvConf') : undefined),
    requested: assignRequested(requestedAddresses(document, request.args), rangeSets),
    socket: ipam.socket || DEFAULT_AGENT_SOCKET,
  }
}

/**
 * For verbs that need nothing else: giving addresses back must work without the ranges.
 * @throws CniError 7
 */
export function parseClusterStore(request: NetworkRequest): ClusterStore {
  const { ipam } = normalise(request.config, schema) as { ipam?: { dataDir?: unknown; coolDown?: unknown } }
  return {
    dataDirectory: readDataDirectory(ipam?.dataDir, defaultDataDirectory),
    coolDownSeconds: typeof ipam?.coolDown === 'number' ? ipam.coolDown : defaultCoolDownSeconds,
  }
}

interface PoolRangeOptions extends RangeOptions {
  readonly blockLength: number | undefined
  /** Of the configuration's key, for errors. */
  readonly path: string
}

function readPoolRange(document: PoolRangeDocument, path: string): PoolRangeOptions {
  return { ...readRange(document, path), blockLength: document.blockLength, path }
}

function withBlocks(range: Range, options: PoolRangeOptions | undefined): PoolRange {
  const { subnet } = range
  const usual = defaultBlockLength(subnet)
  const blockLength = options?.blockLength ?? usual
  const bits = subnet.address.length * 8
  const key = `"${options?.path}.blockLength" is ${blockLength}`
  if (blockLength < subnet.length || blockLength > bits)
    throw invalid(
      `${key}, but must be from ${subnet.length} to ${bits} for ${formatPrefix(subnet)}`,
      `leave it out for the default, ${usual}`,
    )
  // The blocks are counted and listed; more than can be would serve no cluster.
  if (blockLength - subnet.length > MAXIMUM_BLOCK_BITS && bits === 32)
    throw invalid(
      `${key}, which makes 2^${blockLength - subnet.length} blocks of ${formatPrefix(subnet)}`,
      `use ${subnet.length + MAXIMUM_BLOCK_BITS} or less`,
    )
  return { ...range, blockLength }
}

/** 2^20 blocks; an IPv6 subnet has more than anybody takes. */
const MAXIMUM_BLOCK_BITS = 20
