/**
 * Who answers for a virtual address: the bridge of every host has it, and a container is to know that of its own host
 * alone. One that asks before its host's bridge has the address would be answered through the tunnel, keep the hardware
 * address of another host's bridge, and reach nobody any more when the network leaves that host. In the overlay namespace:
 * ARP and neighbour discovery for virtual addresses do not come out of the tunnel.
 */

import type { IpAddress } from '../../address/address.ts'
import type { DeclaredTable } from '../../firewall/nftables/declared-table.ts'
import { arpAddress, icmpv6Types, neighbourTarget, ofEtherType } from '../../netlink/netfilter/bridge-expressions.ts'
import { Priority } from '../../netlink/netfilter/chain.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import { inSet, meta, verdict } from '../../netlink/netfilter/expressions.ts'
import { DISCOVERY, families, isInterface, lengthOf, nameFor } from './rules.ts'

/** Up to version 1.0.6 nft has no name for it, and does not know that it is an address. */
const neighbourTargetField = { offset: 64, length: 128 } as const

/** In the overlay namespace of a network with virtual addresses. */
export const neighbourTable = { family: 'bridge', table: 'cnikit-mesh' } as const

/** @param tunnel the port of the bridge that leads to the other hosts */
export function virtualNeighbours(tunnel: string, virtualAddresses: readonly IpAddress[]): DeclaredTable {
  const fromTunnel = [meta('iifname'), isInterface(tunnel)]
  const drop = (field: Expression, set: string) => [field, inSet(set), verdict('drop')]
  return {
    ...neighbourTable,
    sets: families.map(family => ({
      set: nameFor('virtual', family),
      type: family === 'ip' ? { key: ['ipv4_addr'] } : { key: ['integer128'], keyFields: [neighbourTargetField] },
      elements: virtualAddresses.filter(({ length }) => length === lengthOf(family)).map(key => ({ key })),
    })),
    chains: [
      {
        chain: 'prerouting',
        base: { type: 'filter', hook: 'prerouting', priority: Priority.filter },
        rules: [
          // A bridge that asks says by it where the virtual address is, too.
          ...(['saddr', 'daddr'] as const).map(which => [
            ...fromTunnel,
            ...ofEtherType('arp'),
            ...drop(arpAddress(which), nameFor('virtual', 'ip')),
          ]),
          [
            ...fromTunnel,
            ...ofEtherType('ip6'),
            ...icmpv6Types(...DISCOVERY),
            ...drop(neighbourTarget(), nameFor('virtual', 'ip6')),
          ],
        ],
      },
    ],
  }
}
