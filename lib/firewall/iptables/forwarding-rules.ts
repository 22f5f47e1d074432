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

import type { IpAddress } from '../../address/address.ts'
import type { SavedRule } from './table.ts'
import { commented, isJumpTo, single, type WantedRule } from './wanted-rule.ts'

export const FORWARD = 'CNI-FORWARD'
export const OWNERS = 'CNIKIT-FORWARD-OWNERS'

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

/** Who wants the rules of an address. @param owner the words of an attachment */
export function ownerRule(owner: string, address: IpAddress): WantedRule {
  const source = single(address)
  return {
    specification: `${OWNERS} -s ${source} ${commented(owner)}`,
    matches: rule => rule.chain === OWNERS && rule.source === source && rule.comment === owner,
  }
}
