/** The result of ADD: what runtimes read, and CHECK compares with later. */

import { formatMac, type MacAddress } from '../address/mac.ts'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { AttachmentRequest, Dns, Interface, Result } from '../cni/types.ts'
import type { Addressing } from './addressing.ts'

/** An interface as the result tells it. @param sandbox path of the namespace; absent for a link of the host */
export function describeInterface(
  link: { readonly name: string; readonly mac?: MacAddress; readonly mtu: number },
  sandbox?: string,
): Interface {
  return {
    name: link.name,
    ...(link.mac === undefined ? {} : { mac: formatMac(link.mac) }),
    mtu: link.mtu,
    ...(sandbox === undefined ? {} : { sandbox }),
  }
}

/** What the address plugin gave, and what follows from it. */
export interface Addressed {
  readonly ipam: Result
  readonly addressing: Addressing
}

/**
 * @param owner index of the interface that has the addresses
 * @param dns of the configuration: replaces the address plugin's
 */
export function composeResult(
  interfaces: Interface[],
  owner: number,
  addressed: Addressed | undefined,
  dns: Dns | undefined,
): Result {
  const names = dns ?? addressed?.ipam.dns
  return {
    interfaces,
    ...(addressed === undefined
      ? {}
      : {
          ips: addressed.addressing.ips.map(ip => ({ ...ip, interface: owner })),
          routes: [...addressed.addressing.resultRoutes],
        }),
    ...(names === undefined ? {} : { dns: names }),
  }
}

/** A "dns" key that says anything. */
export function givenDns(dns: Dns | undefined): Dns | undefined {
  return dns !== undefined && Object.keys(dns).length > 0 ? dns : undefined
}

/**
 * Results of 0.1.0 and 0.2.0 cannot say "no address"; better now than after the work is done.
 * @throws CniError code 1
 */
export function refuseWithoutAddresses(request: AttachmentRequest, ipamType: string | undefined): void {
  if (ipamType !== undefined || (request.cniVersion !== '0.1.0' && request.cniVersion !== '0.2.0')) return
  throw new CniError(
    ErrorCode.incompatibleVersion,
    'cannot convert: no valid IP addresses',
    `cniVersion is "${request.cniVersion}" and there is no "ipam": use cniVersion 0.3.0 or newer`,
  )
}
