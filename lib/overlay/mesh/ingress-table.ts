/**
 * The load balancer, in the ingress namespace of a host: what comes in from the gateway bridge goes to a replica over the
 * ingress network, under the load balancer's own address there, so that answers come back here.
 *
 * Ports of mode local come here only from containers on the gateway bridge. The host cannot lead them to a replica beside
 * them: where br_netfilter is loaded it would have the bridge do it, which keeps its ports apart. From here they go back
 * to the host, in the load balancer's name, whose own port is not kept apart from the others.
 */

import type { IpAddress } from '../../address/address.ts'
import type { DeclaredTable } from '../../firewall/nftables/declared-table.ts'
import { Priority } from '../../netlink/netfilter/chain.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import { type IpFamilyName, inSet, meta, ofFamily, verdict } from '../../netlink/netfilter/expressions.ts'
import {
  clampSegmentSize,
  connectionIs,
  immediate,
  loadKey,
  translate,
} from '../../netlink/netfilter/nat-expressions.ts'
import { concatenated, ofLength, portBytes, portElements } from './elements.ts'
import type { PublishedPort } from './published-port.ts'
import {
  families,
  isInterface,
  isNotInterface,
  lengthOf,
  meshTable,
  nameFor,
  protocolAndPort,
  slotMap,
  slotRules,
} from './rules.ts'

export interface IngressServices {
  /** The interface on the gateway bridge, and its addresses. */
  readonly outer: string
  readonly outerAddresses: readonly IpAddress[]
  /** The host's own addresses there. */
  readonly gateways: readonly IpAddress[]
  /** The interface in the ingress network, and its addresses. */
  readonly inner: string
  readonly addresses: readonly IpAddress[]
  readonly ports: readonly PublishedPort[]
}

export function ingressTable(services: IngressServices): DeclaredTable {
  const { outer, outerAddresses, gateways, inner, addresses, ports } = services
  return {
    ...meshTable,
    sets: [
      ...families.map(family => ({
        set: nameFor('replicas', family),
        type: slotMap(family, { withAddress: false, withPort: true }),
        elements: ports.filter(({ mode }) => mode === 'mesh').flatMap(port => portElements(port, lengthOf(family))),
      })),
      {
        set: 'local',
        type: { key: ['inet_proto', 'inet_service'] },
        elements: ports
          .filter(({ mode }) => mode === 'local')
          .map(({ protocol, port }) => ({ key: concatenated([protocol], portBytes(port)) })),
      },
    ],
    chains: [
      {
        chain: 'prerouting',
        base: { type: 'nat', hook: 'prerouting', priority: Priority.dstnat },
        rules: [
          [meta('iifname'), isNotInterface(outer), verdict('accept')],
          ...families.flatMap(family => slotRules(family, protocolAndPort, nameFor('replicas', family), true)),
          ...families.flatMap(family => backToHost(family, gateways)),
        ],
      },
      {
        chain: 'postrouting',
        base: { type: 'nat', hook: 'postrouting', priority: Priority.srcnat },
        rules: families.flatMap(family => [
          ...sourceRules(family, inner, addresses),
          ...sourceRules(family, outer, outerAddresses),
        ]),
      },
      {
        chain: 'forward',
        base: { type: 'filter', hook: 'forward', priority: Priority.filter, policy: 'drop' },
        rules: [
          clampSegmentSize(),
          [...connectionIs('established', 'related'), verdict('accept')],
          // Not the other way: the load balancer is no router for containers of the ingress network.
          [meta('iifname'), isInterface(outer), ...connectionIs('dnat'), verdict('accept')],
        ],
      },
    ],
  }
}

/** `meta l4proto . th dport @local dnat ip to 172.18.0.1` */
function backToHost(family: IpFamilyName, gateways: readonly IpAddress[]): Expression[][] {
  return ofLength(gateways, lengthOf(family)).map(gateway => [
    ...ofFamily(family),
    ...loadKey(...protocolAndPort),
    inSet('local'),
    immediate(gateway),
    translate('dnat', family),
  ])
}

/** `oifname "eth0" snat ip to 10.255.0.2` */
export function sourceRules(family: IpFamilyName, inner: string, addresses: readonly IpAddress[]): Expression[][] {
  const [address] = ofLength(addresses, lengthOf(family))
  if (address === undefined) return []
  const leaving = [meta('oifname'), isInterface(inner), ...connectionIs('dnat')]
  return [[...leaving, ...ofFamily(family), immediate(address), translate('snat', family)]]
}
