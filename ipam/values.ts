/** Addresses, prefixes and routes as the configurations of address plugins write them. */

import type { IpAddress } from '../lib/address/address.ts'
import { formatAddress, parseAddress } from '../lib/address/address.ts'
import type { Prefix } from '../lib/address/prefix.ts'
import { formatPrefix, parsePrefix } from '../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import type { Route } from '../lib/cni/types.ts'

/** @param path of the key, for the error @throws CniError 7 */
export function readPrefix(text: string, path: string): Prefix {
  const prefix = parsePrefix(text)
  if (prefix !== undefined) return prefix
  throw invalid(
    `${JSON.stringify(path)} is ${JSON.stringify(text)}, but must be a prefix`,
    'write an address and a prefix length: "10.1.0.0/16", "2001:db8::/64"',
  )
}

/** An address; as in Go, an empty text leaves it unset. @throws CniError 7 */
export function readAddress(text: string | undefined, path: string): IpAddress | undefined {
  if (!text) return undefined
  const address = parseAddress(text)
  if (address !== undefined) return address
  throw invalid(
    `${JSON.stringify(path)} is ${JSON.stringify(text)}, but must be an address`,
    'write it without leading zeros and without a prefix length: "10.1.0.5", "2001:db8::5"',
  )
}

/** A route of `ipam.routes` in canonical text, with all that it has besides. @throws CniError 7 */
export function readRoute({ dst, gw, ...rest }: Route, index: number): Route {
  const path = `ipam.routes[${index}]`
  const destination = readPrefix(dst, `${path}.dst`)
  const gateway = readAddress(gw, `${path}.gw`)
  if (gateway !== undefined && gateway.length !== destination.address.length)
    throw invalid(
      `"${path}.gw" is ${JSON.stringify(gw)}, of another address family than "${path}.dst", ${JSON.stringify(dst)}`,
      'a route and its gateway have to be of one family',
    )
  return {
    dst: formatPrefix(destination),
    ...(gateway && { gw: formatAddress(gateway) }),
    ...rest,
  }
}

/** Results of CNI 0.2.0 and before hold one address per family. */
export class SeveralPerFamilyError extends CniError {
  constructor(cniVersion: string) {
    super(
      ErrorCode.invalidNetworkConfig,
      `CNI version ${cniVersion} does not support more than 1 address per family`,
      'set cniVersion to 0.3.0 or later, or give one address per family',
    )
  }
}

/** @param lengths of the addresses that an attachment gets, in bytes @throws SeveralPerFamilyError */
export function refuseSeveralPerFamily(cniVersion: string, lengths: readonly (number | undefined)[]): void {
  if (cniVersion !== '0.1.0' && cniVersion !== '0.2.0') return
  const ofIpv4 = lengths.filter(length => length === 4).length
  if (ofIpv4 > 1 || lengths.length - ofIpv4 > 1) throw new SeveralPerFamilyError(cniVersion)
}

/** `ipam.dataDir`, checked by hand for the verbs that take a configuration with faults. @throws CniError 7 */
export function readDataDirectory(dataDir: unknown, otherwise: string): string {
  if (dataDir === undefined || dataDir === '') return otherwise
  if (typeof dataDir === 'string' && dataDir.startsWith('/')) return dataDir
  throw invalid(
    `"ipam.dataDir" is ${JSON.stringify(dataDir)}, but must be an absolute path`,
    `leave it out for the default, ${otherwise}`,
  )
}

export function invalid(message: string, remedy: string): CniError {
  return new CniError(ErrorCode.invalidNetworkConfig, message, remedy)
}
