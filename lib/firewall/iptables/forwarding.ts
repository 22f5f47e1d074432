/** Forwarding with iptables: the chains and rules of the Go firewall plugin. */

import { type Family, familyOf, type IpAddress } from '../../address/address.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { Attachment } from '../attachment.ts'
import type { Forwarding, ForwardingCarrier, ForwardingOptions } from '../forwarding-intent.ts'
import { attachmentWords, networkPrefix } from '../nftables/layout.ts'
import {
  ingressChains,
  ingressDeletions,
  ingressJumpLines,
  ingressLines,
  ingressRules,
  policiesComeFirst,
} from './forwarding-ingress.ts'
import { acceptedAddress, acceptRules, adminJump, FORWARD, forwardJump, OWNERS, ownerRule } from './forwarding-rules.ts'
import { placesWithChain } from './places.ts'
import {
  changePlanned,
  emptyTable,
  programOf,
  readTable,
  requirePrograms,
  type SavedRule,
  type SavedTable,
  type TablePlace,
} from './table.ts'
import { missingChainLines, missingLines, missingRules, single } from './wanted-rule.ts'

const place = (family: Family): TablePlace => ({ table: 'filter', family, variant: 'default' })

/** The part of each family. A policy without addresses is about both. */
function familyParts({ addresses, ingress }: Forwarding): { family: Family; forwarding: Forwarding }[] {
  const families = ([4, 6] as const).filter(
    family =>
      addresses.some(address => familyOf(address) === family) || (addresses.length === 0 && ingress !== undefined),
  )
  return families.map(family => ({
    family,
    forwarding: { addresses: addresses.filter(address => familyOf(address) === family), ingress },
  }))
}

function add(attachment: Attachment, forwarding: Forwarding, options: ForwardingOptions): boolean {
  const present = placesWithChain('filter', FORWARD, options.environment)
  let added = false
  try {
    for (const { family, forwarding: part } of familyParts(forwarding)) {
      const mayExist = present.some(found => found.family === family)
      let adds = false
      const plan = (table: SavedTable): string[] => {
        const own = ownLines(table, attachment, part.addresses)
        adds = own.length > 0
        return [...sharedLines(table, attachment.network, part, options.adminChain), ...own]
      }
      const changed = changePlanned(place(family), options.environment, plan, mayExist ? undefined : emptyTable)
      if (changed && adds) added = true
    }
    return added
  } catch (error) {
    // The other family may have it already.
    if (added) remove(attachment, forwarding.addresses, options)
    throw error
  }
}

/** What is not there of that which the packets of all containers pass. */
function sharedLines(table: SavedTable, network: string, { addresses, ingress }: Forwarding, admin: string): string[] {
  const chains = [...(addresses.length > 0 ? [FORWARD, admin] : []), ...(ingress ? ingressChains : []), OWNERS]
  const jumps = addresses.length > 0 ? missingLines(table, [forwardJump]) : []
  return [
    ...missingChainLines(table, chains),
    ...jumps,
    ...ingressJumpLines(table, ingress !== undefined, jumps.length > 0),
    ...(addresses.length > 0 ? missingLines(table, [adminJump(admin)]) : []),
    ...(ingress ? ingressLines(table, network, ingress) : []),
  ]
}

function ownLines(table: SavedTable, attachment: Attachment, addresses: readonly IpAddress[]): string[] {
  const owner = attachmentWords(attachment)
  const sources = addresses.map(single)
  // Whoever had one of the addresses in the network is gone, or would not have lost it.
  const former = table.rules.filter(
    ({ chain, source = '', comment = '' }) =>
      chain === OWNERS &&
      sources.includes(source) &&
      comment !== owner &&
      comment.startsWith(networkPrefix(attachment.network)),
  )
  const wanted = addresses.flatMap(address => [...acceptRules(address), ownerRule(owner, address)])
  return [...former.map(rule => `-D ${rule.specification}`), ...missingLines(table, wanted)]
}

function remove(
  attachment: Attachment,
  addresses: readonly IpAddress[] | undefined,
  { environment }: ForwardingOptions,
): void {
  const owner = attachmentWords(attachment)
  const said = new Set(addresses?.map(single))
  for (const found of placesWithChain('filter', FORWARD, environment)) {
    changePlanned(found, environment, table =>
      ownerDeletions(
        table,
        rule => rule.comment === owner,
        rule => said.has(acceptedAddress(rule) ?? ''),
      ),
    )
  }
}

/**
 * What removes the owners and the rules of their addresses, as far as nobody else owns them.
 * @param isSaid rules of the Go plugin, which have no owner, to be removed too
 */
function ownerDeletions(
  table: SavedTable,
  isOwner: (rule: SavedRule) => boolean,
  isSaid: (rule: SavedRule) => boolean,
): string[] {
  const owners = table.rules.filter(rule => rule.chain === OWNERS && rule.source !== undefined)
  const gone = owners.filter(isOwner)
  const kept = new Set(owners.filter(rule => !gone.includes(rule)).map(rule => rule.source))
  const sources = new Set(gone.map(rule => rule.source))
  const rules = table.rules.filter(rule => {
    const address = acceptedAddress(rule)
    return address !== undefined && !kept.has(address) && (sources.has(address) || isSaid(rule))
  })
  return [...rules, ...gone].map(rule => `-D ${rule.specification}`)
}

function gc(
  network: string,
  valid: readonly Pick<Attachment, 'containerId' | 'ifname'>[],
  { environment }: ForwardingOptions,
): void {
  const owners = new Set(valid.map(({ containerId, ifname }) => attachmentWords({ network, containerId, ifname })))
  const ofNetwork = networkPrefix(network)
  for (const found of placesWithChain('filter', OWNERS, environment)) {
    changePlanned(found, environment, table => [
      ...ownerDeletions(
        table,
        ({ comment = '' }) => comment.startsWith(ofNetwork) && !owners.has(comment),
        () => false,
      ),
      ...(valid.length === 0 ? ingressDeletions(table, network) : []),
    ])
  }
}

function check(_attachment: Attachment, forwarding: Forwarding, { environment, adminChain }: ForwardingOptions): void {
  for (const { family, forwarding: part } of familyParts(forwarding)) {
    const fault = faultOf(readTable(place(family), environment), part, adminChain)
    if (fault === undefined) continue
    throw new CniError(
      ErrorCode.checkFailed,
      `firewall: ${programOf(family)} ${fault}`,
      'Something changed it, a firewall reload perhaps: create the container again.',
    )
  }
}

/** Why packets do not pass, or too many do; the Go plugin's rules are as good as ours. */
function faultOf(table: SavedTable, { addresses, ingress }: Forwarding, adminChain: string): string | undefined {
  const accepting =
    addresses.length === 0 ? [] : [forwardJump, adminJump(adminChain), ...addresses.flatMap(acceptRules)]
  const wanted = [...accepting, ...(ingress ? ingressRules(ingress) : [])]
  const [missing] = missingRules(table, wanted)
  if (missing !== undefined) return `has no rule "${missing.specification}" in table filter`
  if (ingress === undefined || policiesComeFirst(table)) return undefined
  return 'does not come to CNI-ISOLATION-STAGE-1 in chain FORWARD before it comes to CNI-FORWARD'
}

/** With iptables-restore, once for each family and change. */
export const iptablesForwarding: ForwardingCarrier = {
  add,
  check,
  delete: remove,
  gc,
  status: ({ environment }) => requirePrograms(environment),
}
