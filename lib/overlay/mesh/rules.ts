/** What the rules of several tables have in common: a choice of slot, and the way to the replica it leads to. */

import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import { compare, type IpFamilyName, ofFamily } from '../../netlink/netfilter/expressions.ts'
import {
  addressField,
  type KeyPart,
  loadKey,
  lookUp,
  portField,
  protocolField,
  randomField,
  sourceHashField,
  translate,
} from '../../netlink/netfilter/nat-expressions.ts'
import type { SetType } from '../../netlink/netfilter/set.ts'
import { encodeText } from '../../sys/bytes.ts'
import { slotRanges } from './slots.ts'

/** The table of services, in the network namespace of a host, of its ingress, of an overlay network. */
export const meshTable = { family: 'inet', table: 'cnikit-mesh' } as const

/** On all hosts the same, so that a client has the same replica wherever it comes in. */
const AFFINITY_SEED = 0x636e69

export const families: readonly IpFamilyName[] = ['ip', 'ip6']
/** "replicas" and "replicas6". */
export const nameFor = (name: string, family: IpFamilyName): string => (family === 'ip' ? name : `${name}6`)
export const lengthOf = (family: IpFamilyName): 4 | 16 => (family === 'ip' ? 4 : 16)
const destinationField = (family: IpFamilyName) => `${family} daddr` as const
export const addressType = (family: IpFamilyName) => (family === 'ip' ? ('ipv4_addr' as const) : ('ipv6_addr' as const))

export const protocolAndPort: readonly KeyPart[] = [protocolField, portField('dport')]
export const destination = (family: IpFamilyName): KeyPart => addressField(family, 'daddr')

/** A name of an interface as it is compared: filled with zeros. */
export function interfaceName(name: string): Uint8Array {
  const bytes = new Uint8Array(16)
  bytes.set(encodeText(name))
  return bytes
}

/** The value of an interface's name as `meta iifname` gives it. */
export const isInterface = (name: string): Expression => compare('eq', interfaceName(name))
export const isNotInterface = (name: string): Expression => compare('neq', interfaceName(name))

/** ICMPv6 types of neighbour solicitation and advertisement (RFC 4861). No replica is a router for others: these are all. */
export const DISCOVERY = [135, 136] as const

/** What nft calls the expression that picks a slot. */
const SLOT_FIELD = 'numgen random mod 16'

/**
 * A map from slots to replicas.
 * @param withAddress whether the key begins with the destination address, @param withPort goes on with protocol and port
 */
export function slotMap(
  family: IpFamilyName,
  { withAddress, withPort }: { withAddress: boolean; withPort: boolean },
): SetType {
  return {
    key: [
      ...(withAddress ? ([addressType(family)] as const) : []),
      ...(withPort ? (['inet_proto', 'inet_service'] as const) : []),
      'integer32',
    ],
    keyFields: [
      ...(withAddress ? [destinationField(family)] : []),
      ...(withPort ? (['meta l4proto', 'th dport'] as const) : []),
      SLOT_FIELD,
    ],
    value: withPort ? [addressType(family), 'inet_service'] : [addressType(family)],
    valueFields: withPort ? [destinationField(family), 'th dport'] : [destinationField(family)],
  }
}

/**
 * One rule for each size of slots and each affinity: `dnat ip to <key> . numgen random mod 16 offset 16 map @replicas`.
 * A rule whose slot is not in the map does nothing, so that a service decides by its elements which rule is its own.
 */
export function slotRules(
  family: IpFamilyName,
  key: readonly KeyPart[],
  map: string,
  withPort: boolean,
): Expression[][] {
  const picks = [
    ...slotRanges.none.map(({ count, first }) => randomField(count, first)),
    ...slotRanges.client.map(({ count, first }) => sourceHashField(family, count, first, AFFINITY_SEED)),
  ]
  return picks.map(pick => [
    ...ofFamily(family),
    ...loadKey(...key, pick),
    lookUp(map),
    translate('dnat', family, withPort),
  ])
}
