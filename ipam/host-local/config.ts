/** host-local's configuration: the keys of the Go plugin, with its meaning and its texts. */

import { schema, validate } from '#validators/host-local'
import type { IpAddress } from '../../lib/address/address.ts'
import { normalise, parseConfig } from '../../lib/cni/config.ts'
import type { AttachmentRequest, NetworkRequest, Route } from '../../lib/cni/types.ts'
import type { RangeSet } from '../allocator/range-set.ts'
import { completeRangeSets } from '../allocator/range-set.ts'
import { type RangeDocument, readRange, readRangeSets } from '../range-document.ts'
import { assignRequested, type RequestDocument, requestedAddresses } from '../requested.ts'
import { invalid, readDataDirectory, readRoute, refuseSeveralPerFamily } from '../values.ts'

/** The document, keys in the schema's spelling. */
interface HostLocalDocument extends RequestDocument {
  ipam: Partial<RangeDocument> & {
    ranges?: RangeDocument[][]
    routes?: Route[]
    dataDir?: string
    resolvConf?: string
  }
  runtimeConfig?: RequestDocument['runtimeConfig'] & { ipRanges?: RangeDocument[][] }
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
    ...readRangeSets('runtimeConfig.ipRanges', runtimeConfig?.ipRanges ?? []),
    ...legacy.map(set => set.map(range => readRange(range, 'ipam'))),
    ...readRangeSets('ipam.ranges', ipam.ranges ?? []),
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
  const { ipam } = normalise(request.config, schema) as { ipam?: { dataDir?: unknown } }
  return directoryOf(request.network, ipam?.dataDir)
}

function directoryOf(network: string, dataDir: unknown): string {
  return `${readDataDirectory(dataDir, defaultDataDir)}/${network}`
}
