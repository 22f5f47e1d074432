/** host-local: addresses from ranges, kept in files on this host. */

import { formatAddress } from '../../lib/address/address.ts'
import { formatPrefix, parsePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { readResolvConf } from '../../lib/cni/resolv-conf.ts'
import type { AttachmentRequest, GcRequest, NetworkRequest, Plugin, Result } from '../../lib/cni/types.ts'
import { cniVersions } from '../../lib/cni/types.ts'
import { allocate } from '../allocator/allocate.ts'
import { checkHeld, exhaustedRangeSet } from '../allocator/inspect.ts'
import { formatRangeSet } from '../allocator/range-set.ts'
import { collectGarbage, release } from '../allocator/release.ts'
import { SeveralPerFamilyError } from '../values.ts'
import { parseDirectory, parseHostLocalConfig } from './config.ts'

function add(request: AttachmentRequest): Result {
  const config = parseHostLocalConfig(request)
  const dns = config.resolvConf === undefined ? undefined : readResolvConf(config.resolvConf, 'ipam.resolvConf')
  const { containerId, ifname, netns } = request
  const allocations = allocate({ ...config, containerId, ifname, netns })
  return {
    ips: allocations.map(({ address, range }) => ({
      address: formatPrefix({ address, length: range.subnet.length }),
      gateway: formatAddress(range.gateway),
    })),
    ...(config.routes.length > 0 && { routes: [...config.routes] }),
    ...(dns && { dns }),
  }
}

/** Gives back first, so that no address stays behind whatever is wrong with the configuration. */
function del(request: AttachmentRequest): void {
  release(parseDirectory(request), request)
  refuseAsAddDid(request)
}

/**
 * The Go plugin refuses DEL as well when results of the configuration's version cannot hold the addresses, and its tests want
 * that. ADD can never have succeeded.
 */
function refuseAsAddDid(request: AttachmentRequest): void {
  if (request.cniVersion !== '0.1.0' && request.cniVersion !== '0.2.0') return
  try {
    parseHostLocalConfig(request)
  } catch (error) {
    if (error instanceof SeveralPerFamilyError) throw error
  }
}

function check(request: AttachmentRequest): void {
  const { directory, rangeSets } = parseHostLocalConfig(request)
  const expected = (request.prevResult?.ips ?? []).flatMap(({ address }) => parsePrefix(address)?.address ?? [])
  checkHeld('host-local', directory, request, rangeSets, expected)
}

function gc(request: GcRequest): void {
  collectGarbage(parseDirectory(request), request.validAttachments)
}

function status(request: NetworkRequest): void {
  const config = parseHostLocalConfig(request)
  if (config.resolvConf !== undefined) readResolvConf(config.resolvConf, 'ipam.resolvConf')
  const exhausted = exhaustedRangeSet(config.directory, config.rangeSets)
  if (exhausted === undefined) return
  throw new CniError(
    ErrorCode.unavailable,
    `no IP addresses available in range set: ${formatRangeSet(exhausted)}`,
    `all are held, see ${config.directory}; let the runtime run GC, delete attachments, or give the network more ranges`,
  )
}

export const hostLocal: Plugin = {
  name: 'host-local',
  about: 'hands out addresses from ranges and keeps them in files on this host (IPAM)',
  supportedVersions: cniVersions,
  arguments: ['IP'],
  netns: 'any',
  add,
  del,
  check,
  gc,
  status,
}
