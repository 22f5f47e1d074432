/**
 * Where the state of port forwarding is, and how it is named:
 *
 *     table inet cnikit-portmap {
 *       map ports {                                          one element for each port
 *         type inet_proto . inet_service : ipv4_addr . inet_service
 *         elements = { tcp . 8080 comment "podnet 3f0e... eth0 4026532291" : 10.1.0.5 . 80 }
 *       }
 *       map port-ranges {                                    one for each range that leads to the same ports
 *         type inet_proto . inet_service : ipv4_addr; flags interval
 *         elements = { tcp . 9000-9999 comment "..." : 10.1.0.5 }
 *       }
 *       map address-ports { type ipv4_addr . inet_proto . inet_service : ... }          of one address of the host
 *       map address-port-ranges { ... }                      and all four for IPv6, with a "6" behind the name
 *       set subnet/podnet/10.1.0.0/16 { type ipv4_addr; elements = { 10.1.0.5 comment "..." } }
 *       set localhost/podnet/ip { type ipv4_addr; elements = { 10.1.0.5 comment "..." } }
 *       chain published {
 *         meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports               one for each map
 *       }
 *       chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump published }
 *       chain output { type nat hook output priority dstnat; ip6 daddr ::1 accept; fib daddr type local jump published }
 *       chain postrouting { type nat hook postrouting priority srcnat
 *         ip saddr 10.1.0.0/16 ip daddr @subnet/podnet/10.1.0.0/16 ct status dnat masquerade
 *         ip saddr 127.0.0.0/8 ip daddr @localhost/podnet/ip ct status dnat masquerade
 *       }
 *       chain loopback-guard { type filter hook prerouting priority raw; iifname != "lo" ip daddr 127.0.0.0/8 drop }
 *     }
 *
 * A port costs one lookup whatever their number. Ranges are apart from ports because the kernel copies a whole set of
 * ranges whenever one is added. No verdicts in the maps: the kernel would check all of them for loops at every change.
 * No key is in two maps in a way that two of them answer for the same packet: ADD sees to that.
 *
 * What goes where is in the maps, and so are the owners: comments name network, container and interface, and the network
 * namespace by which a later ADD sees whether the owner still lives.
 */

import type { Request } from '../../netlink/message.ts'
import type { BaseChain, ChainName } from '../../netlink/netfilter/chain.ts'
import { createChain, Priority } from '../../netlink/netfilter/chain.ts'
import { REGISTER_1 } from '../../netlink/netfilter/data.ts'
import type { Datatype } from '../../netlink/netfilter/datatype.ts'
import { type Expression, express } from '../../netlink/netfilter/expression-attributes.ts'
import {
  address,
  addressFields,
  compare,
  type IpFamilyName,
  meta,
  ofFamily,
  PayloadBase,
  verdict,
} from '../../netlink/netfilter/expressions.ts'
import {
  addressField,
  isLocal,
  loadKey,
  lookUp,
  portField,
  protocolField,
  translate,
} from '../../netlink/netfilter/nat-expressions.ts'
import { createRule } from '../../netlink/netfilter/rule.ts'
import { createSet, type SetName, type SetType } from '../../netlink/netfilter/set.ts'
import type { TableName } from '../../netlink/netfilter/table.ts'
import { allocate, encodeText } from '../../sys/bytes.ts'
import type { DeclaredChain } from './declared-table.ts'
import type { Creation } from './transaction.ts'

export const portmapTable: TableName = { family: 'inet', table: 'cnikit-portmap' }
export const postroutingChain: ChainName = { ...portmapTable, chain: 'postrouting' }

export const portmapCreation: Creation = {
  what: 'port forwarding with nftables',
  table: portmapTable,
  needs:
    'The kernel needs NAT for nftables in the inet family: Linux 5.7, modules nft_chain_nat, nft_masq and nft_fib_inet. ' +
    'Without them set "backend": "iptables".',
}

export const families: readonly IpFamilyName[] = ['ip', 'ip6']
const addressType = (family: IpFamilyName): Datatype => (family === 'ip' ? 'ipv4_addr' : 'ipv6_addr')

/** One of the maps. */
export interface PortMap extends SetName {
  readonly family: 'inet'
  readonly of: IpFamilyName
  /** Whether keys begin with an address of the host. */
  readonly byAddress: boolean
  /** Whether elements are ranges of ports, which stay as they are. */
  readonly ranges: boolean
}

/** The map for mappings of a kind. */
export function portMap(of: IpFamilyName, byAddress: boolean, ranges: boolean): PortMap {
  const name = `${byAddress ? 'address-' : ''}${ranges ? 'port-ranges' : 'ports'}${of === 'ip' ? '' : '6'}`
  return { family: 'inet', table: portmapTable.table, set: name, of, byAddress, ranges }
}

/** All of them. */
export const portMaps: readonly PortMap[] = families.flatMap(of => [
  portMap(of, true, false),
  portMap(of, true, true),
  portMap(of, false, false),
  portMap(of, false, true),
])

function typeOf({ of, byAddress, ranges }: PortMap): SetType {
  return {
    key: [...(byAddress ? [addressType(of)] : []), 'inet_proto', 'inet_service'],
    value: ranges ? [addressType(of)] : [addressType(of), 'inet_service'],
    ...(ranges ? { interval: true } : {}),
  }
}

/** `meta nfproto ipv4 dnat ip to meta l4proto . th dport map @ports` */
function forwardRule({ of, byAddress, ranges, set }: PortMap): Expression[] {
  const address = byAddress ? [addressField(of, 'daddr')] : []
  return [
    ...ofFamily(of),
    ...loadKey(...address, protocolField, portField('dport')),
    lookUp(set),
    translate('dnat', of, !ranges),
  ]
}

const PUBLISHED = 'published'
const loopbackName = allocate(16)
loopbackName.set(encodeText('lo'))
const ipv6Loopback = allocate(16)
ipv6Loopback[15] = 1

const nat = (hook: BaseChain['hook'], priority: number): BaseChain => ({ type: 'nat', hook, priority })
const entry = (): Expression[] => [...isLocal('daddr'), verdict('jump', PUBLISHED)]

/** The chains whose rules are always the same. */
export function fixedChains(): DeclaredChain[] {
  return [
    { chain: PUBLISHED, rules: portMaps.map(forwardRule) },
    { chain: 'prerouting', base: nat('prerouting', Priority.dstnat), rules: [entry()] },
    {
      chain: 'output',
      base: nat('output', Priority.dstnat),
      rules: [
        // Linux has no way to lead ::1 elsewhere. It is refused rather than lost, so that clients go on to 127.0.0.1.
        [...ofFamily('ip6'), address('ip6', 'daddr'), compare('eq', ipv6Loopback), verdict('accept')],
        entry(),
      ],
    },
    {
      // Connections to localhost need route_localnet on the way to the container, which would let containers reach what
      // listens on the host's 127.0.0.1 alone (CVE-2020-8558). Answers are translated back behind this hook.
      chain: 'loopback-guard',
      base: { type: 'filter', hook: 'prerouting', priority: Priority.raw },
      rules: [
        [
          meta('iifname'),
          compare('neq', loopbackName),
          ...ofFamily('ip'),
          // `ip daddr 127.0.0.0/8` as nft loads it again: the first byte.
          express('payload', { dreg: REGISTER_1, base: PayloadBase.network, offset: addressFields.ip.daddr, len: 1 }),
          compare('eq', Uint8Array.of(127)),
          verdict('drop'),
        ],
      ],
    },
  ]
}

const exclusive = { exclusive: true }

/** The chains, none of which must exist. */
export function createChains(): Request[] {
  const chains = fixedChains()
  return [
    ...chains.map(({ chain, base }) => createChain({ ...portmapTable, chain }, base, exclusive)),
    ...chains.flatMap(({ chain, rules }) => rules.map(rule => createRule({ ...portmapTable, chain }, rule))),
  ]
}

/** The chain that rules of source sets go into, which must not exist. */
export function createPostrouting(): Request {
  return createChain(postroutingChain, nat('postrouting', Priority.srcnat), exclusive)
}

/** A map, which must not exist. */
export function createPortMap(map: PortMap): Request {
  return createSet(map, typeOf(map), exclusive)
}
