/** The chains, rules and sets of forwarding, as requests that create what is missing of them. */

import type { Request } from '../../netlink/message.ts'
import { type ChainName, chainFormat, createChain, getChain, Priority } from '../../netlink/netfilter/chain.ts'
import { REGISTER_1, REGISTER_2, Verdict } from '../../netlink/netfilter/data.ts'
import { type Expression, expressionData } from '../../netlink/netfilter/expression-attributes.ts'
import { address, inSet, meta, ofFamily, ofKnownConnection, verdict } from '../../netlink/netfilter/expressions.ts'
import { createRule, listRules, ruleFormat } from '../../netlink/netfilter/rule.ts'
import { createSet, getSet, type SetName, setFormat } from '../../netlink/netfilter/set.ts'
import { createTable, getTable, tableFormat } from '../../netlink/netfilter/table.ts'
import type { NetlinkSocket } from '../../netlink/socket.ts'
import {
  adminChain,
  firewallTable,
  forwardChain,
  ingressChain,
  ingressInterfaces,
  ingressWithin,
} from './forwarding-objects.ts'
import { rulesBySet } from './ruleset.ts'

const isOfIp6 = ({ set }: SetName): boolean => set.endsWith('/ip6')

/** The rules of a set of addresses, at the end of the chain. */
export function createAcceptRules(set: SetName): Request[] {
  const family = isOfIp6(set) ? 'ip6' : 'ip'
  const rules: Expression[][] = [
    [...ofFamily(family), address(family, 'saddr'), inSet(set.set), verdict('accept')],
    [...ofFamily(family), address(family, 'daddr'), inSet(set.set), ...ofKnownConnection(), verdict('accept')],
  ]
  return rules.map(rule => createRule(forwardChain, rule))
}

/** A network's set of addresses, which must not exist, and its rules. */
export function createAccepted(set: SetName): Request[] {
  const key = isOfIp6(set) ? 'ipv6_addr' : 'ipv4_addr'
  return [createSet(set, { key: [key] }, { exclusive: true }), ...createAcceptRules(set)]
}

/** The set of what a network wants of interfaces, which must not exist. */
export function createIngressSet(set: SetName): Request {
  return createSet(set, { key: ['ifname'] }, { exclusive: true })
}

/** Ends the chain for what stays behind one bridge. */
function createWithinRule(): Request {
  const within = [meta('iifname', REGISTER_1), meta('oifname', REGISTER_2), inSet(ingressWithin.set)]
  return createRule(ingressChain, [...within, verdict('return')], { first: true })
}

/** Drops the rest of what goes from one such bridge to another. */
function createBetweenRule(): Request {
  const between = [meta('iifname'), inSet(ingressInterfaces.set), meta('oifname'), inSet(ingressInterfaces.set)]
  return createRule(ingressChain, [...between, verdict('drop')])
}

function createIngressChain(): Request[] {
  return [createChain(ingressChain, undefined, { exclusive: true }), createWithinRule(), createBetweenRule()]
}

/** What forwarded packets go through before anything is accepted, in this order. */
const jumps: readonly ChainName[] = [adminChain, ingressChain]

function createForwardChain(): Request[] {
  return [
    createChain(forwardChain, { type: 'filter', hook: 'forward', priority: Priority.filter }, { exclusive: true }),
    ...jumps.map(({ chain }) => createRule(forwardChain, [verdict('jump', chain)])),
  ]
}

/** The creation of what is missing of all that is there whatever the networks. The operator may have made parts before. */
export function missingStructure(socket: NetlinkSocket): Request[] {
  const table = socket.get(tableFormat, getTable(firewallTable))
  const chains = socket.getAll(chainFormat, [adminChain, ingressChain, forwardChain].map(getChain))
  const sets = socket.getAll(setFormat, [ingressInterfaces, ingressWithin].map(getSet))
  const [admin, ingress, forward] = chains
  const [interfaces, within] = sets
  return [
    ...(table === undefined ? [createTable(firewallTable, { exclusive: true })] : []),
    ...(interfaces === undefined ? [createSet(ingressInterfaces, { key: ['ifname'] }, { exclusive: true })] : []),
    ...(within === undefined ? [createSet(ingressWithin, { key: ['ifname', 'ifname'] }, { exclusive: true })] : []),
    ...(admin === undefined ? [createChain(adminChain, undefined, { exclusive: true })] : []),
    ...(ingress === undefined ? createIngressChain() : []),
    ...(forward === undefined ? createForwardChain() : []),
  ]
}

/** Whether the ingress chain has no rule that looks into the set. */
function lacksIngressRule(socket: NetlinkSocket, { set }: SetName): boolean {
  return !rulesBySet(socket, ingressChain).has(set)
}

/** What keeps the chains from working, in words; undefined when nothing does. */
export function structureFault(socket: NetlinkSocket): string | undefined {
  const [jump] = missingJumps(socket)
  if (jump !== undefined) return `chain "${forwardChain.chain}" does not jump to "${jump}"`
  const set = [ingressWithin, ingressInterfaces].find(set => lacksIngressRule(socket, set))
  return set && `chain "${ingressChain.chain}" has no rule for set "${set.set}"`
}

/** The creation of what is missing of the rules of all networks, each where it belongs. */
export function missingRules(socket: NetlinkSocket): Request[] {
  return [
    ...missingJumps(socket)
      .toReversed()
      .map(chain => createRule(forwardChain, [verdict('jump', chain)], { first: true })),
    ...(lacksIngressRule(socket, ingressWithin) ? [createWithinRule()] : []),
    ...(lacksIngressRule(socket, ingressInterfaces) ? [createBetweenRule()] : []),
  ]
}

/** The chains that the forward chain should jump to and does not. */
function missingJumps(socket: NetlinkSocket): string[] {
  const present = socket
    .dump(ruleFormat, listRules(forwardChain))
    .flatMap(({ attributes }) => attributes.expressions ?? [])
    .map(expression => expressionData('immediate', expression)?.data?.verdict)
    .filter(found => found?.code === Verdict.jump)
    .map(found => found?.chain)
  return jumps.map(({ chain }) => chain).filter(chain => !present.includes(chain))
}
