/** What is masqueraded on its way to a container: elements of sets, each with a rule. */

import { formatPrefix, networkAddress, networkOf, type Prefix, parsePrefix } from '../../address/prefix.ts'
import type { Request } from '../../netlink/message.ts'
import type { Datatype } from '../../netlink/netfilter/datatype.ts'
import type { Expression } from '../../netlink/netfilter/expression-attributes.ts'
import {
  address,
  addressInNetwork,
  type IpFamilyName,
  inSet,
  masquerade,
  ofFamily,
} from '../../netlink/netfilter/expressions.ts'
import { addressField, connectionIs, loadKey } from '../../netlink/netfilter/nat-expressions.ts'
import { createRule } from '../../netlink/netfilter/rule.ts'
import { createSet, type SetName } from '../../netlink/netfilter/set.ts'
import { allocate } from '../../sys/bytes.ts'
import type { PortForwarding } from '../port-forwarding-intent.ts'
import type { Claim } from './claims.ts'
import { ipFamily, networkInName } from './layout.ts'
import { portmapTable, postroutingChain } from './port-forwarding-objects.ts'

/** Whence: the container's subnet, the container itself, the host's localhost, anywhere. */
const kinds = ['subnet', 'self', 'localhost', 'anywhere'] as const
type SourceKind = (typeof kinds)[number]

const localhost: Prefix = { address: Uint8Array.of(127, 0, 0, 0), length: 8 }

/** What the names of a network's sets begin with. */
const setPrefix = (kind: SourceKind, network: string): string => `${kind}/${networkInName(network)}`

/** The network's part of a set's name: of which subnet or family it is. Undefined for other sets. */
function scopeOf(name: string, network: string): { kind: SourceKind; scope: string } | undefined {
  for (const kind of kinds) {
    const prefix = setPrefix(kind, network)
    if (name.startsWith(prefix)) return { kind, scope: name.slice(prefix.length) }
  }
  return undefined
}

/** Whether the set is of the network's, or, without one, of any. */
export function isSourceSet(name: string, network?: string): boolean {
  if (network !== undefined) return scopeOf(name, network) !== undefined
  return kinds.some(kind => name.startsWith(`${kind}/`))
}

function sourceSet(kind: SourceKind, network: string, container: Prefix): SetName {
  // nft allows no colon in a name.
  const scope =
    kind === 'subnet' ? formatPrefix(networkOf(container)).replaceAll(':', '-') : ipFamily(container.address)
  return { ...portmapTable, set: `${setPrefix(kind, network)}${scope}` }
}

/** The kinds of sources that are masqueraded on the way to one of the container's addresses. */
function kindsFor({ snat, masqueradeAll, preserveClientAddress }: PortForwarding, container: Prefix): SourceKind[] {
  if (!snat) return []
  if (masqueradeAll) return ['anywhere']
  const near = preserveClientAddress ? 'self' : 'subnet'
  return container.address.length === 4 ? [near, 'localhost'] : [near]
}

/** The elements of the attachment's addresses. */
export function sourceClaims(network: string, forwarding: PortForwarding, comment: string): Claim[] {
  return forwarding.addresses.flatMap(container =>
    kindsFor(forwarding, container).map(kind => ({
      set: sourceSet(kind, network, container),
      element: { key: kind === 'self' ? twice(container.address) : container.address, comment },
    })),
  )
}

function twice(bytes: Uint8Array): Uint8Array {
  const key = allocate(2 * bytes.length)
  key.set(bytes)
  key.set(bytes, bytes.length)
  return key
}

/** The keys that addresses have in a set of the network's. */
export function sourceKeys(name: string, network: string, containers: readonly Prefix[]): Uint8Array[] {
  const found = scopeOf(name, network)
  if (found === undefined) return []
  const family = familyOfScope(found.scope)
  return containers
    .filter(({ address }) => ipFamily(address) === family)
    .map(({ address }) => (found.kind === 'self' ? twice(address) : address))
}

/** The set, which must not exist, and its rule. */
export function createSource(network: string, set: SetName): Request[] {
  const found = scopeOf(set.set, network)
  if (found === undefined) throw new TypeError(`no set of sources of network "${network}": ${set.set}`)
  const family = familyOfScope(found.scope)
  const type: Datatype = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr'
  const key = found.kind === 'self' ? [type, type] : [type]
  return [createSet(set, { key }, { exclusive: true }), ...createSourceRule(network, set)]
}

/** The rule of a set. */
export function createSourceRule(network: string, set: SetName): Request[] {
  const found = scopeOf(set.set, network)
  if (found === undefined) return []
  const family = familyOfScope(found.scope)
  const [saddr, daddr] = [addressField(family, 'saddr'), addressField(family, 'daddr')]
  const from = sourceOf(found.kind, found.scope)
  const match: Expression[] =
    found.kind === 'self'
      ? [...loadKey(saddr, daddr), inSet(set.set)]
      : [
          ...(from ? addressInNetwork(family, 'saddr', 'eq', networkAddress(from), from.length) : []),
          address(family, 'daddr'),
          inSet(set.set),
        ]
  return [createRule(postroutingChain, [...ofFamily(family), ...match, ...connectionIs('dnat'), masquerade()])]
}

function familyOfScope(scope: string): IpFamilyName {
  return scope === 'ip6' || scope.includes('-') ? 'ip6' : 'ip'
}

function sourceOf(kind: SourceKind, scope: string): Prefix | undefined {
  if (kind === 'localhost') return localhost
  return kind === 'subnet' ? parsePrefix(scope.replaceAll('-', ':')) : undefined
}
