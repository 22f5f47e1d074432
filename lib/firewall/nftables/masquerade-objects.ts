/** The masquerade chain, its rules and sets, as requests that create them. */

import { networkAddress, type Prefix, parsePrefix } from '../../address/prefix.ts'
import type { Request } from '../../netlink/message.ts'
import { createChain, Priority } from '../../netlink/netfilter/chain.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import {
  address,
  addressInNetwork,
  type IpFamilyName,
  inSet,
  masquerade,
  ofFamily,
  verdict,
} from '../../netlink/netfilter/expressions.ts'
import { createRule } from '../../netlink/netfilter/rule.ts'
import { createSet } from '../../netlink/netfilter/set.ts'
import { ipFamily, masqueradeChain, masqueradeSet } from './layout.ts'

const multicast: Readonly<Record<IpFamilyName, string>> = { ip: '224.0.0.0/4', ip6: 'ff00::/8' }

/** Multicast keeps its source: receivers tell senders apart by it. */
function multicastReturns(family: IpFamilyName): Expression[] {
  const prefix = parsePrefix(multicast[family])
  if (prefix === undefined) throw new TypeError(`not a prefix: ${multicast[family]}`)
  return [
    ...ofFamily(family),
    ...addressInNetwork(family, 'daddr', 'eq', prefix.address, prefix.length),
    verdict('return'),
  ]
}

/** The base chain, which must not exist. */
export function createMasqueradeChain(): Request[] {
  return [
    createChain(masqueradeChain, { type: 'nat', hook: 'postrouting', priority: Priority.srcnat }, { exclusive: true }),
    createRule(masqueradeChain, multicastReturns('ip')),
    createRule(masqueradeChain, multicastReturns('ip6')),
  ]
}

/** The rule of a subnet: what its attachments send to elsewhere leaves with the host's address. */
export function createSubnetRule(network: string, subnet: Prefix): Request {
  const family = ipFamily(subnet.address)
  return createRule(masqueradeChain, [
    ...ofFamily(family),
    address(family, 'saddr'),
    inSet(masqueradeSet(network, subnet).set),
    ...addressInNetwork(family, 'daddr', 'neq', networkAddress(subnet), subnet.length),
    masquerade(),
  ])
}

/** The set of a subnet, which must not exist, and its rule. */
export function createSubnet(network: string, subnet: Prefix): Request[] {
  const key = ipFamily(subnet.address) === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
  return [
    createSet(masqueradeSet(network, subnet), { key: [key] }, { exclusive: true }),
    createSubnetRule(network, subnet),
  ]
}
