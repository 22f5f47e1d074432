/** Masquerade with iptables: the chains, rules and comments of the Go plugins. */

import { type Family, familyOf, formatAddress } from '../../address/address.ts'
import { formatPrefix, networkOf, type Prefix } from '../../address/prefix.ts'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import type { Attachment } from '../attachment.ts'
import { chainName, ownerInComment, ruleComment } from './names.ts'
import {
  changePlanned,
  changeTable,
  type Environment,
  emptyTable,
  findLegacyTable,
  hasLegacyTable,
  programOf,
  quoteWord,
  readTable,
  type SavedRule,
  type SavedTable,
  type TablePlace,
} from './table.ts'

const multicast: Readonly<Record<Family, string>> = { 4: '224.0.0.0/4', 6: 'ff00::/8' }

const isJumpTo = (rule: SavedRule, chain: string) => rule.chain === 'POSTROUTING' && rule.target === chain
const isAccept = (rule: SavedRule, chain: string, subnet: string) =>
  rule.chain === chain && rule.target === 'ACCEPT' && rule.destination === subnet
const isMasquerade = (rule: SavedRule, chain: string) => rule.chain === chain && rule.target === 'MASQUERADE'
const single = (address: Prefix) => `${formatAddress(address.address)}/${address.address.length * 8}`
const subnetOf = (address: Prefix) => formatPrefix(networkOf(address))

/** The families that the addresses have. */
function familiesOf(addresses: readonly Prefix[]): Family[] {
  return [...new Set(addresses.map(address => familyOf(address.address)))]
}

const natTable = (family: Family): TablePlace => ({ table: 'nat', family, variant: 'default' })

/**
 * Adds what is missing, in one change for each family. The table is only read when the container may have a chain.
 * @param hasChain whether iptables-nft's table of the family has the container's chain
 */
export function addToIptables(
  attachment: Attachment,
  addresses: readonly Prefix[],
  hasChain: (family: Family) => boolean,
  environment: Environment,
): void {
  for (const family of familiesOf(addresses)) {
    const mayExist = hasChain(family) || hasLegacyTable('nat', family)
    const table = mayExist ? readTable(natTable(family), environment) : emptyTable
    const lines = missingLines(
      table,
      attachment,
      addresses.filter(address => familyOf(address.address) === family),
      family,
    )
    if (lines.length > 0) changeTable(natTable(family), lines, environment)
  }
}

function missingLines(
  table: SavedTable,
  attachment: Attachment,
  addresses: readonly Prefix[],
  family: Family,
): string[] {
  const chain = chainName(attachment.network, attachment.containerId)
  const comment = `-m comment --comment ${quoteWord(ruleComment(attachment.network, attachment.containerId))}`
  const has = (matches: (rule: SavedRule) => boolean) => table.rules.some(matches)
  const lines: string[] = []
  // Under --noflush this line makes the chain, or empties it.
  if (!table.chains.includes(chain)) lines.push(`:${chain} - [0:0]`)

  const masquerades = has(rule => isMasquerade(rule, chain))
  for (const subnet of new Set(addresses.map(subnetOf))) {
    if (has(rule => isAccept(rule, chain, subnet))) continue
    // Behind the rule that masquerades it would never be reached.
    lines.push(`${masquerades ? '-I' : '-A'} ${chain} -d ${subnet} ${comment} -j ACCEPT`)
  }
  if (!masquerades) lines.push(`-A ${chain} ! -d ${multicast[family]} ${comment} -j MASQUERADE`)
  for (const source of new Set(addresses.map(single))) {
    if (has(rule => isJumpTo(rule, chain) && rule.source === source)) continue
    lines.push(`-A POSTROUTING -s ${source} ${comment} -j ${chain}`)
  }
  return lines
}

/** Deletes the container's rules in the old iptables' nat table, if the kernel has one; nftables.ts does it for the newer. */
export function deleteFromLegacyIptables(
  attachment: Attachment,
  addresses: readonly Prefix[] | undefined,
  environment: Environment,
): void {
  const chain = chainName(attachment.network, attachment.containerId)
  for (const family of [4, 6] as const) {
    const legacy = findLegacyTable('nat', family, environment)
    if (legacy === undefined) continue
    changePlanned(legacy, environment, table => deletionLines(table, chain, addresses))
  }
}

/** Removes the network's containers that are not valid from the old iptables' nat table. */
export function gcLegacyIptables(
  network: string,
  validContainers: ReadonlySet<string>,
  environment: Environment,
): void {
  for (const family of [4, 6] as const) {
    const legacy = findLegacyTable('nat', family, environment)
    if (legacy === undefined) continue
    changePlanned(legacy, environment, table => {
      const stale = new Set<string>()
      for (const rule of table.rules) {
        const owner = ownerInComment(rule.comment ?? '')
        if (owner?.network !== network || validContainers.has(owner.containerId)) continue
        const chain = chainName(network, owner.containerId)
        if (table.chains.includes(chain)) stale.add(chain)
      }
      return [...stale].flatMap(chain => deletionLines(table, chain, undefined))
    })
  }
}

/** The chain goes with the last rule that leads to it: another attachment of the container may still need it. */
function deletionLines(table: SavedTable, chain: string, addresses: readonly Prefix[] | undefined): string[] {
  const jumps = table.rules.filter(rule => isJumpTo(rule, chain))
  const sources = addresses?.flatMap(address => [single(address), subnetOf(address), formatPrefix(address)])
  const ours = sources === undefined ? jumps : jumps.filter(rule => sources.includes(rule.source ?? ''))
  const lines = ours.map(rule => `-D ${rule.specification}`)
  if (table.chains.includes(chain) && ours.length === jumps.length) lines.push(`-F ${chain}`, `-X ${chain}`)
  return lines
}

/** @throws CniError code 105 naming the first rule that is missing */
export function checkIptables(attachment: Attachment, addresses: readonly Prefix[], environment: Environment): void {
  const chain = chainName(attachment.network, attachment.containerId)
  for (const family of familiesOf(addresses)) {
    const table = readTable(natTable(family), environment)
    for (const address of addresses.filter(address => familyOf(address.address) === family)) {
      const rules: [string, (rule: SavedRule) => boolean][] = [
        [
          `POSTROUTING -s ${single(address)} -j ${chain}`,
          rule => isJumpTo(rule, chain) && rule.source === single(address),
        ],
        [`${chain} -d ${subnetOf(address)} -j ACCEPT`, rule => isAccept(rule, chain, subnetOf(address))],
        [`${chain} -j MASQUERADE`, rule => isMasquerade(rule, chain)],
      ]
      for (const [text, matches] of rules) {
        if (table.rules.some(matches)) continue
        throw new CniError(
          ErrorCode.checkFailed,
          `masquerade of ${formatAddress(address.address)}: ${programOf(family)} has no rule "${text}" in table nat`,
          'Something removed it, a firewall reload perhaps: create the container again.',
        )
      }
    }
  }
}
