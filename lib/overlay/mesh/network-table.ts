/**
 * Virtual addresses of services inside a network, in the overlay namespace of a host: the bridge answers for them, so that
 * no request for them crosses the tunnel, and what is sent there goes to a replica, on whatever port it was meant for.
 * It comes from the load balancer's address in the network, since a replica's answer would pass this host by otherwise.
 */

import { formatAddress, type IpAddress } from '../../address/address.ts'
import type { DeclaredTable } from '../../firewall/nftables/declared-table.ts'
import { Priority } from '../../netlink/netfilter/chain.ts'
import { meta, verdict } from '../../netlink/netfilter/expressions.ts'
import { connectionIs } from '../../netlink/netfilter/nat-expressions.ts'
import { slotElements } from './elements.ts'
import { sourceRules } from './ingress-table.ts'
import {
  destination,
  families,
  isInterface,
  isNotInterface,
  lengthOf,
  meshTable,
  nameFor,
  slotMap,
  slotRules,
} from './rules.ts'
import type { Affinity } from './slots.ts'

export interface VirtualService {
  readonly name: string
  readonly virtualAddress: IpAddress
  readonly affinity: Affinity
  /** Replicas that take new connections, of the virtual address's family. */
  readonly replicas: readonly IpAddress[]
}

export interface NetworkServices {
  /** The bridge in the overlay namespace. */
  readonly bridge: string
  /** The load balancer's addresses in the network. */
  readonly addresses: readonly IpAddress[]
  readonly services: readonly VirtualService[]
}

export function networkTable({ bridge, addresses, services }: NetworkServices): DeclaredTable {
  return {
    ...meshTable,
    sets: families.map(family => ({
      set: nameFor('virtual', family),
      type: slotMap(family, { withAddress: true, withPort: false }),
      elements: services
        .filter(({ virtualAddress }) => virtualAddress.length === lengthOf(family))
        .flatMap(service => slotElements(service, [service.virtualAddress], byName(service.replicas))),
    })),
    chains: [
      {
        chain: 'prerouting',
        base: { type: 'nat', hook: 'prerouting', priority: Priority.dstnat },
        rules: [
          [meta('iifname'), isNotInterface(bridge), verdict('accept')],
          ...families.flatMap(family => slotRules(family, [destination(family)], nameFor('virtual', family), false)),
        ],
      },
      {
        chain: 'postrouting',
        base: { type: 'nat', hook: 'postrouting', priority: Priority.srcnat },
        rules: families.flatMap(family => sourceRules(family, bridge, addresses)),
      },
      {
        chain: 'forward',
        base: { type: 'filter', hook: 'forward', priority: Priority.filter, policy: 'drop' },
        rules: [
          [...connectionIs('established', 'related'), verdict('accept')],
          [meta('iifname'), isInterface(bridge), ...connectionIs('dnat'), verdict('accept')],
        ],
      },
    ],
  }
}

function byName(addresses: readonly IpAddress[]): Map<string, Uint8Array> {
  return new Map(addresses.map(address => [formatAddress(address), address]))
}
