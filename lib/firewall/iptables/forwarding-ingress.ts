/**
 * Ingress policies in iptables' filter table. The Go plugin's rules, and beside them which network wants them, so that the
 * last one's GC removes them, and that "isolated" is obeyed where two networks want different things of one interface:
 *
 *     -A CNI-ISOLATION-STAGE-1 -i cni0 -o cni0 ... -j DROP                      only "isolated"
 *     -A CNI-ISOLATION-STAGE-1 -i cni0 ! -o cni0 ... -j CNI-ISOLATION-STAGE-2
 *     -A CNI-ISOLATION-STAGE-1 ... -j RETURN
 *     -A CNI-ISOLATION-STAGE-2 -o cni0 ... -j DROP
 *     -A CNI-ISOLATION-STAGE-2 ... -j RETURN
 *     -A CNIKIT-FORWARD-OWNERS -i cni0 -m comment --comment "podnet same-bridge"
 */

import type { Ingress } from '../forwarding-intent.ts'
import { networkPrefix } from '../nftables/layout.ts'
import { FORWARD, OWNERS } from './forwarding-rules.ts'
import { quoteWord, type SavedRule, type SavedTable } from './table.ts'
import { commented, deletionLines, isJumpTo, missingLines, type WantedRule } from './wanted-rule.ts'

const STAGE_1 = 'CNI-ISOLATION-STAGE-1'
const STAGE_2 = 'CNI-ISOLATION-STAGE-2'
export const ingressChains: readonly string[] = [STAGE_1, STAGE_2]

const policyComment = (policy: Ingress['policy']): string =>
  commented(`CNI firewall plugin rules (ingressPolicy: ${policy})`)

/** The way of packets to the policies. It has to come before the one to what is accepted. */
const stageJump: WantedRule = {
  specification: `FORWARD ${policyComment('same-bridge')} -j ${STAGE_1}`,
  matches: isJumpTo('FORWARD', STAGE_1),
  first: true,
}

const returns: readonly WantedRule[] = ingressChains.map(chain => ({
  specification: `${chain} ${policyComment('same-bridge')} -j RETURN`,
  matches: isJumpTo(chain, 'RETURN'),
}))

function betweenRules(name: string): WantedRule[] {
  const device = quoteWord(name)
  return [
    {
      specification: `${STAGE_1} -i ${device} ! -o ${device} ${policyComment('same-bridge')} -j ${STAGE_2}`,
      matches: rule => isJumpTo(STAGE_1, STAGE_2)(rule) && rule.option('-i') === name,
      first: true,
    },
    {
      specification: `${STAGE_2} -o ${device} ${policyComment('same-bridge')} -j DROP`,
      matches: rule => isJumpTo(STAGE_2, 'DROP')(rule) && rule.option('-o') === name,
      first: true,
    },
  ]
}

function withinRule(name: string): WantedRule {
  const device = quoteWord(name)
  return {
    specification: `${STAGE_1} -i ${device} -o ${device} ${policyComment('isolated')} -j DROP`,
    matches: rule => isJumpTo(STAGE_1, 'DROP')(rule) && rule.option('-i') === name && rule.option('-o') === name,
    first: true,
  }
}

/** The rules that the policy wants, apart from the way to them. */
export function ingressRules({ policy, interfaces }: Ingress): WantedRule[] {
  const ofInterfaces = interfaces.flatMap(name =>
    policy === 'isolated' ? [withinRule(name), ...betweenRules(name)] : betweenRules(name),
  )
  return [...returns, ...ofInterfaces]
}

const wishComment = (network: string, policy: Ingress['policy']): string => `${networkPrefix(network)}${policy}`
const isWish = (rule: SavedRule): boolean => rule.chain === OWNERS && rule.option('-i') !== undefined
const wantsIsolation = (rule: SavedRule): boolean => rule.comment?.endsWith(' isolated') ?? false

/** What makes the network want this, besides what others want. */
export function ingressLines(table: SavedTable, network: string, { policy, interfaces }: Ingress): string[] {
  const own = networkPrefix(network)
  const comment = wishComment(network, policy)
  const lines: string[] = []
  const wanted: WantedRule[] = [...returns]
  for (const name of interfaces) {
    const wishes = table.rules.filter(rule => isWish(rule) && rule.option('-i') === name)
    const changed = wishes.filter(rule => rule.comment?.startsWith(own) && rule.comment !== comment)
    lines.push(...changed.map(rule => `-D ${rule.specification}`))
    wanted.push(...betweenRules(name), {
      specification: `${OWNERS} -i ${quoteWord(name)} ${commented(comment)}`,
      matches: rule => isWish(rule) && rule.option('-i') === name && rule.comment === comment,
    })
    const left = wishes.filter(rule => !changed.includes(rule))
    if (policy === 'isolated') wanted.push(withinRule(name))
    else if (changed.some(wantsIsolation) && !left.some(wantsIsolation))
      lines.push(...deletionLines(table, [withinRule(name)]))
  }
  return [...lines, ...missingLines(table, wanted)]
}

/** What ends all that the network wants, and the rules that nobody else wants. */
export function ingressDeletions(table: SavedTable, network: string): string[] {
  const own = networkPrefix(network)
  const wishes = table.rules.filter(isWish)
  const ended = wishes.filter(rule => rule.comment?.startsWith(own))
  const left = wishes.filter(rule => !ended.includes(rule))
  const lines = ended.map(rule => `-D ${rule.specification}`)
  for (const name of new Set(ended.map(rule => rule.option('-i') ?? ''))) {
    const others = left.filter(rule => rule.option('-i') === name)
    if (!others.some(wantsIsolation)) lines.push(...deletionLines(table, [withinRule(name)]))
    if (others.length === 0) lines.push(...deletionLines(table, betweenRules(name)))
  }
  return lines
}

/**
 * What leads to the policies, before what is accepted.
 * @param forwardIsNew whether the way to what is accepted is about to be added before all else
 */
export function ingressJumpLines(table: SavedTable, isWanted: boolean, forwardIsNew: boolean): string[] {
  const present = table.rules.find(stageJump.matches)
  if (present === undefined) return isWanted ? [`-I ${stageJump.specification}`] : []
  if (!forwardIsNew && policiesComeFirst(table)) return []
  return [`-D ${present.specification}`, `-I ${stageJump.specification}`]
}

/** Whether nothing is accepted before the policies are asked. */
export function policiesComeFirst(table: SavedTable): boolean {
  const jumps = table.rules.filter(rule => rule.chain === 'FORWARD').map(rule => rule.target)
  return jumps.includes(STAGE_1) && !jumps.slice(0, jumps.indexOf(STAGE_1)).includes(FORWARD)
}
