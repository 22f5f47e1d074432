/** A container's own address, as its kernel has it. */

import type { NetworkNamespace } from '../../test/harness/index.ts'

export type Family = 'ipv4' | 'ipv6'

/** Without its prefix length. */
export function addressIn(container: NetworkNamespace, family: Family): string {
  const found = container.addresses('eth0').find(address => address.includes(':') === (family === 'ipv6'))
  return found?.replace(/\/\d+$/, '') ?? 'no address'
}
