/**
 * Isolation of the ingress network, in its overlay namespace on every host: replicas of different owners share it, and
 * none may reach another. Only load balancers talk to replicas, on the target ports of what is published, and replicas
 * answer. The rules keep no state, so that they also hold on kernels without connection tracking for bridges.
 */

import type { IpAddress } from '../../address/address.ts'
import type { DeclaredSet, DeclaredTable } from '../../firewall/nftables/declared-table.ts'
import { icmpv6Types, isIcmp, isLaterFragment, ofEtherType } from '../../netlink/netfilter/bridge-expressions.ts'
import { Priority } from '../../netlink/netfilter/chain.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import { type IpFamilyName, inSet, meta, notInSet, verdict } from '../../netlink/netfilter/expressions.ts'
import { addressField, loadKey, portField, protocolField } from '../../netlink/netfilter/nat-expressions.ts'
import { concatenated, ofLength, portBytes } from './elements.ts'
import type { PublishedPort } from './published-port.ts'
import { addressType, DISCOVERY, families, interfaceName, lengthOf, nameFor } from './rules.ts'

export const isolationTable = { family: 'bridge', table: 'cnikit-ingress' } as const

export interface IngressNetwork {
  /** Ports of the bridge from which frames of load balancers come: the tunnel, and that of this host's own. */
  readonly trusted: readonly string[]
  /** The load balancers of all hosts. */
  readonly loadBalancers: readonly IpAddress[]
  /** With the targets that drain: their old connections go on. */
  readonly ports: readonly PublishedPort[]
}

export function ingressIsolation({ trusted, loadBalancers, ports }: IngressNetwork): DeclaredTable {
  return {
    ...isolationTable,
    sets: [
      { set: 'trusted', type: { key: ['ifname'] }, elements: trusted.map(name => ({ key: interfaceName(name) })) },
      ...families.flatMap(family => [balancerSet(family, loadBalancers), targetSet(family, ports)]),
    ],
    chains: [
      {
        chain: 'forward',
        base: { type: 'filter', hook: 'forward', priority: Priority.filter, policy: 'drop' },
        rules: [
          [...ofEtherType('arp'), verdict('accept')],
          [...ofEtherType('ip6'), ...icmpv6Types(...DISCOVERY), verdict('accept')],
          ...families.flatMap(rulesOf),
        ],
      },
    ],
  }
}

function balancerSet(family: IpFamilyName, loadBalancers: readonly IpAddress[]): DeclaredSet {
  return {
    set: nameFor('load-balancers', family),
    type: { key: [addressType(family)] },
    elements: ofLength(loadBalancers, lengthOf(family)).map(key => ({ key })),
  }
}

function targetSet(family: IpFamilyName, ports: readonly PublishedPort[]): DeclaredSet {
  const targets = ports.flatMap(({ protocol, mode, targets }) =>
    mode === 'local' ? [] : targets.map(({ address, port }) => ({ address, protocol, port })),
  )
  // Several published ports may lead to one target.
  const keys = new Map(
    targets
      .filter(({ address }) => address.length === lengthOf(family))
      .map(({ address, protocol, port }) => concatenated(address, [protocol], portBytes(port)))
      .map(key => [key.join(), { key }]),
  )
  return {
    set: nameFor('targets', family),
    type: { key: [addressType(family), 'inet_proto', 'inet_service'] },
    elements: [...keys.values()],
  }
}

function rulesOf(family: IpFamilyName): Expression[][] {
  const balancers = nameFor('load-balancers', family)
  const targets = nameFor('targets', family)
  const of = ofEtherType(family)
  const from = [...loadKey(addressField(family, 'saddr')), inSet(balancers)]
  const to = [...loadKey(addressField(family, 'daddr')), inSet(balancers)]
  const asked = [...loadKey(addressField(family, 'daddr'), protocolField, portField('dport')), inSet(targets)]
  const answered = [...loadKey(addressField(family, 'saddr'), protocolField, portField('sport')), inSet(targets)]
  const accept = verdict('accept')
  return [
    // Nobody else speaks in a load balancer's name.
    [...of, ...from, meta('iifname'), notInSet('trusted'), verdict('drop')],
    [...of, ...from, ...asked, accept],
    [...of, ...to, ...answered, accept],
    // Errors, and what is too big.
    ...[from, to].flatMap(side => [
      [...of, ...side, ...isIcmp(family), accept],
      [...of, ...side, ...isLaterFragment(family), accept],
    ]),
  ]
}
