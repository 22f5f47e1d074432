/**
 * The rules of forwarding in iptables' filter table: those of the Go plugin, word for word, as it finds its own again by
 * their words alone, and beside them who wants them:
 *
 *     -A FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)" -j CNI-ISOLATION-STAGE-1
 *     -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
 *     -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
 *     -A CNI-FORWARD -d 10.1.0.5/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
 *     -A CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT
 *     -A CNIKIT-FORWARD-OWNERS -s 10.1.0.5/32 -m comment --comment "podnet 3f0e... eth0"
 *
 * A comment in the rules themselves would hide them from the Go plugin's CHECK and DEL. No packet comes to the last chain:
 * nothing leads there.
 */

import { formatAddress, type IpAddress } from '../../address/address.ts'
import { type Attachment, shortened } from '../attachment.ts'
import { quoteWord, type SavedRule } from './table.ts'

export const FORWARD = 'CNI-FORWARD'
export const OWNERS = 'CNIKIT-FORWARD-OWNERS'

/** With the longest interface name within XT_MAX_COMMENT_LEN. */
const NAME_LIMIT = 110

/** A rule that is wanted: how it is found, and how it is added. */
export interface WantedRule {
  /** What follows "-A" or "-I". */
  readonly specification: string
  readonly matches: (rule: SavedRule) => boolean
  /** Before the chain's other rules, and not behind them. */
  readonly first?: boolean
}

export const commented = (text: string): string => `-m comment --comment ${quoteWord(text)}`

/** An address as iptables-save prints it. */
export const single = (address: IpAddress): string => `${formatAddress(address)}/${address.length * 8}`

export const isJumpTo = (chain: string, target: string) => (rule: SavedRule) =>
  rule.chain === chain && rule.target === target

/** The comment of an owner. */
export function ownerComment(attachment: Attachment): string {
  return `${networkComment(attachment.network)}${shortened(attachment.containerId, NAME_LIMIT, '~')} ${attachment.ifname}`
}

/** What the comments of a network's owners begin with: no CNI name has a blank. */
export function networkComment(network: string): string {
  return `${shortened(network, NAME_LIMIT, '~')} `
}

/** The way of packets to the containers' rules. */
export const forwardJump: WantedRule = {
  specification: `FORWARD ${commented('CNI firewall plugin rules')} -j ${FORWARD}`,
  matches: isJumpTo('FORWARD', FORWARD),
  first: true,
}

/** The operator's rules come before them. */
export function adminJump(adminChain: string): WantedRule {
  return {
    specification: `${FORWARD} ${commented('CNI firewall plugin admin overrides')} -j ${adminChain}`,
    matches: isJumpTo(FORWARD, adminChain),
    first: true,
  }
}

/** What comes back to the address, and what it sends. */
export function acceptRules(address: IpAddress): WantedRule[] {
  const source = single(address)
  return [
    {
      specification: `${FORWARD} -d ${source} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      matches: rule => acceptedAddress(rule) === source && rule.source === undefined,
    },
    {
      specification: `${FORWARD} -s ${source} -j ACCEPT`,
      matches: rule => acceptedAddress(rule) === source && rule.source !== undefined,
    },
  ]
}

/** Whose packets such a rule accepts, as iptables-save prints an address; undefined for a rule of another form. */
export function acceptedAddress(rule: SavedRule): string | undefined {
  if (rule.chain !== FORWARD || rule.target !== 'ACCEPT') return undefined
  const { source, destination } = rule
  if (rule.option('--ctstate') === undefined) return destination === undefined ? source : undefined
  return source === undefined ? destination : undefined
}

/** Who wants the rules of an address. */
export function ownerRule(owner: string, address: IpAddress): WantedRule {
  const source = single(address)
  return {
    specification: `${OWNERS} -s ${source} ${commented(owner)}`,
    matches: rule => rule.chain === OWNERS && rule.source === source && rule.comment === owner,
  }
}

/** What creates those of the rules that are not there, in the table as it is. */
export function missingLines(present: readonly SavedRule[], wanted: readonly WantedRule[]): string[] {
  return wanted
    .filter(({ matches }) => !present.some(matches))
    .map(({ specification, first }) => `${first ? '-I' : '-A'} ${specification}`)
}
