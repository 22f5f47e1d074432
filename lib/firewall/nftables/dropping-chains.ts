/** Chains of other programs that drop what is forwarded, or what comes in: a verdict of ours cannot overrule theirs. */

import { type ChainName, chainFormat, getChain, Hook, listChains, Policy } from '../../netlink/netfilter/chain.ts'
import { VERDICT_REGISTER, Verdict } from '../../netlink/netfilter/data.ts'
import { type Expression, expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import { listRules, ruleFormat } from '../../netlink/netfilter/rule.ts'
import type { NetfilterFamilyName } from '../../netlink/netfilter/subsystem.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'

/** What cnikit names its tables. */
const OWN_TABLES = 'cnikit'
const families: readonly NetfilterFamilyName[] = ['inet', 'ip', 'ip6']

interface BaseChain extends ChainName {
  readonly drops: boolean
}

function foreignChains(socket: NetlinkSocket, hook: 'input' | 'forward'): BaseChain[] {
  return families.flatMap(family =>
    socket
      .dump(chainFormat, listChains(family))
      .map(({ attributes }) => attributes)
      .filter(({ table = '', hook: own }) => own?.hooknum === Hook[hook] && !table.startsWith(OWN_TABLES))
      .map(({ table = '', name = '', policy }) => ({ family, table, chain: name, drops: policy === Policy.drop })),
  )
}

const textOf = ({ family, table, chain }: ChainName): string => `${family} ${table} ${chain}`

/**
 * Base chains in a hook whose policy is to drop, as "ip filter FORWARD": Docker's, a firewall's. What they let through by
 * their rules is not looked at. Those of iptables-legacy are not seen here. @throws NetlinkError
 */
export function droppingChains(socket: NetlinkSocket, hook: 'input' | 'forward'): string[] {
  return foreignChains(socket, hook)
    .filter(({ drops }) => drops)
    .map(textOf)
}

/** A chain that drops or rejects whatever of the forwarded its rules do not let through before. */
export interface ForwardDrop extends ChainName {
  /** Whether there is no rule that could let anything through. */
  readonly always: boolean
}

/** All of them, by reading all chains of the host. @throws NetlinkError */
export function forwardDrops(socket: NetlinkSocket): ForwardDrop[] {
  return foreignChains(socket, 'forward').flatMap(chain => dropOf(socket, chain))
}

/** Those of these chains. It costs the same however many chains the host has. @throws NetlinkError */
export function forwardDropsOf(socket: NetlinkSocket, chains: readonly ChainName[]): ForwardDrop[] {
  return socket.getAll(chainFormat, chains.map(getChain)).flatMap((answer, index) => {
    const chain = chains[index]
    if (chain === undefined || answer?.attributes.hook?.hooknum !== Hook.forward) return []
    return dropOf(socket, { ...chain, drops: answer.attributes.policy === Policy.drop })
  })
}

function dropOf(socket: NetlinkSocket, { family, table, chain, drops }: BaseChain): ForwardDrop[] {
  const rules = socket
    .dump(ruleFormat, listRules({ family, table, chain }))
    .map(rule => rule.attributes.expressions ?? [])
  const last = rules.findIndex(refusesEverything)
  if (!drops && last < 0) return []
  const reached = last < 0 ? rules : rules.slice(0, last)
  return [{ family, table, chain, always: !reached.some(mayLetThrough) }]
}

/** What a rule may hold without asking anything of the packet. */
const unconditional: ReadonlySet<string> = new Set(['counter', 'log', 'immediate', 'reject', 'target'])

function refusesEverything(rule: readonly Expression[]): boolean {
  const conditions = rule.filter(({ name = '' }) => !unconditional.has(name))
  return rule.some(refuses) && conditions.every(one => expressionData('match', one)?.name === 'comment')
}

function refuses(expression: Expression): boolean {
  const target = expressionData('target', expression)?.name
  return (
    expression.name === 'reject' ||
    target === 'REJECT' ||
    target === 'DROP' ||
    expressionData('immediate', expression)?.data?.verdict?.code === Verdict.drop
  )
}

/** Accepts, or leads to where something may be accepted. */
function mayLetThrough(rule: readonly Expression[]): boolean {
  return rule.some(expression => {
    const code = expressionData('immediate', expression)?.data?.verdict?.code
    return (
      (code !== undefined && code !== Verdict.drop) ||
      expressionData('lookup', expression)?.dreg === VERDICT_REGISTER ||
      expression.name === 'queue' ||
      (expression.name === 'target' && !refuses(expression))
    )
  })
}
