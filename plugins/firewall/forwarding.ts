/** What a request wants of forwarding. */

import { equalAddresses, type IpAddress, unmapAddress } from '../../lib/address/address.ts'
import { isPrefix, parsePrefix } from '../../lib/address/prefix.ts'
import type { Result } from '../../lib/cni/types.ts'
import type { Forwarding, IngressPolicy } from '../../lib/firewall/forwarding-intent.ts'
import type { HostLinks } from './host-links.ts'

/** All addresses of the result, each once. */
export function addressesOf({ ips = [] }: Result): IpAddress[] {
  const addresses: IpAddress[] = []
  for (const prefix of ips.map(ip => parsePrefix(ip.address)).filter(isPrefix)) {
    const address = unmapAddress(prefix.address)
    if (!addresses.some(known => equalAddresses(known, address))) addresses.push(address)
  }
  return addresses
}

/** @param links undefined for the policy "open" */
export function forwardingOf(result: Result, policy: IngressPolicy, links: HostLinks | undefined): Forwarding {
  return {
    addresses: addressesOf(result),
    ingress:
      policy === 'open' || links === undefined
        ? undefined
        : { policy, interfaces: links.routing.map(({ name }) => name) },
  }
}
