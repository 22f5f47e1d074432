/** cluster: addresses from blocks of a pool that a whole cluster shares, each block one node's. */

import type { IpAddress } from '../../lib/address/address.ts'
import { formatAddress } from '../../lib/address/address.ts'
import { formatPrefix, parsePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, GcRequest, NetworkRequest, Plugin, Result } from '../../lib/cni/types.ts'
import { cniVersions } from '../../lib/cni/types.ts'
import { callAgent } from '../../lib/overlay/agent-client.ts'
import { makeDirectories } from '../../lib/sys/file.ts'
import type { Allocation } from '../allocator/allocate.ts'
import { ExhaustedError, takeAddresses } from '../allocator/allocate.ts'
import { currentBoot } from '../allocator/index/stamp.ts'
import { checkHeld, exhaustedRangeSet } from '../allocator/inspect.ts'
import type { RangeSet } from '../allocator/range-set.ts'
import { rangeOf } from '../allocator/range-set.ts'
import { collectGarbage, release } from '../allocator/release.ts'
import { withState } from '../allocator/state.ts'
import type { AskAgent, Need } from './ask.ts'
import { askForBlock } from './ask.ts'
import type { ClusterConfig } from './config.ts'
import { parseClusterConfig, parseClusterStore } from './config.ts'
import { allRanges, leaseFailure, rangesFor, readHeld } from './held.ts'
import type { HeldBlocks } from './state-files.ts'
import { addressDirectory } from './state-files.ts'

/** How often a block is asked for: others may take all of one before the attachment that asked gets to it. */
const ATTEMPTS = 10

type Outcome = { readonly allocations: Allocation[] } | { readonly need: Need }

/** @param ask how overlayd is reached */
export function clusterPlugin(ask: AskAgent): Plugin {
  function add(request: AttachmentRequest): Result {
    const config = parseClusterConfig(request)
    const { routes, dns } = config
    makeDirectories(addressDirectory(config.dataDirectory, config.network))
    for (let attempt = 0; ; attempt++) {
      const outcome = takeFromHeld(config, request)
      if ('allocations' in outcome)
        return {
          ips: outcome.allocations.map(({ address, range }) => ({
            address: formatPrefix({ address, length: range.subnet.length }),
            gateway: formatAddress(range.gateway),
          })),
          ...(routes.length > 0 && { routes: [...routes] }),
          ...(dns && { dns }),
        }
      if (attempt === ATTEMPTS) throw outcome.need.reason ?? unusable(config, outcome.need)
      askForBlock(ask, config, request, outcome.need)
    }
  }

  function status(request: NetworkRequest): void {
    const config = parseClusterConfig(request)
    const need = needOfNext(config)
    if (need === undefined) return
    try {
      askForBlock(ask, config, { containerId: '', ifname: '' }, need, true)
    } catch (error) {
      if (!(error instanceof CniError) || error.code === ErrorCode.invalidNetworkConfig) throw error
      throw new CniError(ErrorCode.unavailable, error.message, error.details, { cause: error })
    }
  }

  return {
    name: 'cluster',
    about:
      'hands out addresses of a pool that a whole cluster shares, from blocks that overlayd takes for each node (IPAM)',
    supportedVersions: cniVersions,
    arguments: ['IP'],
    netns: 'any',
    add,
    del,
    check,
    gc,
    status,
  }
}

/** The plugin of the executables. */
export const cluster = clusterPlugin((socket, request) => callAgent(socket, 'block', request))

/** One address from each range set's blocks, or what is missing for that; nothing is taken then. */
function takeFromHeld(config: ClusterConfig, request: AttachmentRequest): Outcome {
  const { containerId, ifname, netns } = request
  const take = (state: Parameters<typeof takeAddresses>[0]): Outcome => {
    const held = readHeld(config)
    if (held === undefined) return { need: firstNeed(config) }
    const reason = leaseFailure(config, state)
    if (reason !== undefined) return { need: { rangeSet: 0, full: [], reason } }
    const own = state.heldBy(containerId, ifname).map(({ address }) => address)
    const rangeSets = rangesFor(config, held, own)
    const need = missing(config, rangeSets, own)
    if (need !== undefined) return { need }
    try {
      return {
        allocations: takeAddresses(state, { containerId, ifname, netns, rangeSets, requested: config.requested }),
      }
    } catch (error) {
      if (!(error instanceof ExhaustedError)) throw error
      return { need: { rangeSet: error.rangeSet, full: prefixesOf(held), reason: error } }
    }
  }
  return withState(addressDirectory(config.dataDirectory, config.network), 'change', take, config)
}

/**
 * A range set without any block, or whose requested address is in none of them.
 * @param own addresses that the attachment holds: with another one than it asks for it is refused, without asking for more
 */
function missing(
  { requested }: Pick<ClusterConfig, 'requested'>,
  rangeSets: readonly RangeSet[],
  own: readonly IpAddress[],
): Need | undefined {
  for (const [rangeSet, set] of rangeSets.entries()) {
    if (own.some(address => rangeOf(set, address) !== undefined)) continue
    const wanted = requested[rangeSet]
    if (wanted !== undefined && rangeOf(set, wanted) === undefined) return { rangeSet, full: [], wanted }
    if (set.length === 0) return { rangeSet, full: [] }
  }
  return undefined
}

function firstNeed(config: ClusterConfig): Need {
  const [wanted] = config.requested
  return { rangeSet: 0, full: [], ...(wanted && { wanted }) }
}

function prefixesOf({ blocks }: HeldBlocks): string[] {
  return blocks.map(({ prefix }) => prefix)
}

/** The agent says that there is a block, and there is none. */
function unusable({ dataDirectory, network }: ClusterConfig, { wanted }: Need): CniError {
  const what = wanted === undefined ? 'a block' : formatAddress(wanted)
  return new CniError(
    ErrorCode.tryAgainLater,
    `overlayd gave ${what} to network "${network}", but ${dataDirectory}/${network}/blocks.json does not have it`,
    'the agent and this plugin have to see the same directory: set "ipam.dataDir" and the agent\'s "blocks.directory" alike',
  )
}

function del(request: AttachmentRequest): void {
  const store = parseClusterStore(request)
  release(addressDirectory(store.dataDirectory, request.network), request, store)
}

function gc(request: GcRequest): void {
  const store = parseClusterStore(request)
  collectGarbage(addressDirectory(store.dataDirectory, request.network), request.validAttachments, store)
}

function check(request: AttachmentRequest): void {
  const config = parseClusterConfig(request)
  const expected = (request.prevResult?.ips ?? []).flatMap(({ address }) => parsePrefix(address)?.address ?? [])
  checkHeld('cluster', addressDirectory(config.dataDirectory, config.network), request, config.rangeSets, expected)
  const held = readHeld(config)
  const ranges = held === undefined ? [] : allRanges(config, held)
  for (const address of expected) {
    const isOfPool = config.rangeSets.some(set => rangeOf(set, address) !== undefined)
    if (!isOfPool || ranges.some(set => rangeOf(set, address) !== undefined)) continue
    throw new CniError(
      ErrorCode.checkFailed,
      `address ${formatAddress(address)} is in none of the blocks that this node has of pool "${config.pool}"`,
      'its block was taken from this node while it could not reach etcd, and another node may hand the address out: replace the container',
    )
  }
}

/** What the next attachment would have to ask the agent for. */
function needOfNext(config: ClusterConfig): Need | undefined {
  const held = readHeld(config)
  if (held === undefined) return firstNeed(config)
  const reason = leaseFailure(config, { boot: currentBoot() })
  if (reason !== undefined) return { rangeSet: 0, full: [], reason }
  const rangeSets: RangeSet[] = rangesFor(config, held, [])
  const need = missing({ requested: [] }, rangeSets, [])
  if (need !== undefined) return need
  const exhausted = exhaustedRangeSet(addressDirectory(config.dataDirectory, config.network), rangeSets)
  return exhausted && { rangeSet: rangeSets.indexOf(exhausted), full: prefixesOf(held) }
}
