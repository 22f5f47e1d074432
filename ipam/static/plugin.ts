/** static: the addresses that the configuration or the runtime names, and no account of them. */

import { equalAddresses, formatAddress, parseAddress } from '../../lib/address/address.ts'
import { formatPrefix, parsePrefix, samePrefix } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { AttachmentRequest, IpConfig, NetworkRequest, Plugin, Result } from '../../lib/cni/types.ts'
import { cniVersions } from '../../lib/cni/types.ts'
import { invalid } from '../values.ts'
import type { StaticAddress } from './addresses.ts'
import { parseStaticConfig } from './config.ts'

function add(request: AttachmentRequest): Result {
  const { addresses, routes, dns } = parseStaticConfig(request)
  if (addresses.length === 0)
    throw invalid(
      'there is no address to give',
      'set ipam.addresses, [{"address": "10.1.0.5/24"}] for example, or let the runtime give some: capability ips, IP in CNI_ARGS',
    )
  return {
    ips: addresses.map(({ prefix, gateway }) => ({
      address: formatPrefix(prefix),
      ...(gateway && { gateway: formatAddress(gateway) }),
    })),
    ...(routes.length > 0 && { routes: [...routes] }),
    ...(dns && { dns }),
  }
}

/** A gateway that the configuration leaves open may have been filled in by the plugin that asked. */
function check(request: AttachmentRequest): void {
  const ips = request.prevResult?.ips ?? []
  for (const address of parseStaticConfig(request).addresses) {
    const text = formatPrefix(address.prefix)
    const given = ips.find(ip => isOf(ip, address))
    if (given === undefined) fail(`address ${text} of the configuration is not in prevResult`)
    if (address.gateway === undefined) continue
    const gateway = given.gateway ? parseAddress(given.gateway) : undefined
    if (gateway === undefined || !equalAddresses(gateway, address.gateway))
      fail(
        `the gateway of ${text} is ${given.gateway ?? 'absent'} in prevResult, but ${formatAddress(address.gateway)} in the configuration`,
      )
  }
}

function isOf({ address }: IpConfig, { prefix }: StaticAddress): boolean {
  const other = parsePrefix(address)
  return other !== undefined && samePrefix(other, prefix)
}

function fail(message: string): never {
  throw new CniError(ErrorCode.checkFailed, message, 'the configuration has changed since ADD: DEL and ADD apply it')
}

/** Addresses may all come with the attachment: that there are none yet is no reason to refuse. */
function status(request: NetworkRequest): void {
  parseStaticConfig(request)
}

/** There is nothing to give back. */
function nothing(): void {}

export const staticIpam: Plugin = {
  name: 'static',
  about: 'gives the addresses that the configuration names (IPAM)',
  supportedVersions: cniVersions,
  arguments: ['IP', 'GATEWAY'],
  netns: 'any',
  add,
  del: nothing,
  check,
  gc: nothing,
  status,
}
