/** `ip rule`: what is asked of the kernel. */

import type { Family } from '../../../address/address.ts'
import { familyOf } from '../../../address/address.ts'
import { formatPrefix } from '../../../address/prefix.ts'
import { NLM_F, type Request, request } from '../../message.ts'
import { familyNumber } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { RouteTable } from '../route/constants.ts'
import { numberOf } from '../value-codecs.ts'
import { INVERT, type RuleAction, type RuleSelector, ruleActions, ruleFormat } from './rule.ts'

export interface NewRule extends RuleSelector {
  /** May be left out when `source` or `destination` tells it. */
  readonly family?: Family | undefined
  /** Default: one below the lowest but that of the local table. Should be given. */
  readonly priority?: number | undefined
  /** Default "lookup". */
  readonly action?: RuleAction | undefined
  /** Default 254, main. */
  readonly table?: number | undefined
  readonly goto?: number | undefined
  readonly suppressPrefixLength?: number | undefined
  readonly suppressGroup?: number | undefined
  readonly l3mdev?: boolean | undefined
  readonly protocol?: number | undefined
}

function familyOfRule({ family, source, destination }: NewRule): Family {
  const known = family ?? (source && familyOf(source.address)) ?? (destination && familyOf(destination.address))
  if (known === undefined) throw new TypeError('a rule without source and destination needs a family')
  return known
}

function messageFor(type: number, flags: number, verb: string, rule: NewRule): Request {
  const family = familyOfRule(rule)
  const action = rule.action ?? 'lookup'
  const deleting = type === RouteMessage.deleteRule
  // A deletion compares only what is given.
  const table = action !== 'lookup' || rule.l3mdev ? 0 : (rule.table ?? (deleting ? 0 : RouteTable.main))
  return request(ruleFormat, {
    type,
    flags,
    operation: describe(verb, family, rule),
    header: {
      family: familyNumber(family),
      destinationLength: rule.destination?.length ?? 0,
      sourceLength: rule.source?.length ?? 0,
      tos: rule.tos ?? 0,
      table: table < 256 ? table : 0,
      action: deleting && rule.action === undefined ? 0 : numberOf(ruleActions, action),
      flags: rule.invert ? INVERT : 0,
    },
    attributes: {
      priority: rule.priority,
      dst: rule.destination?.address,
      src: rule.source?.address,
      iifname: rule.incomingInterface,
      oifname: rule.outgoingInterface,
      fwmark: rule.mark,
      fwmask: rule.mask,
      // The header has room for small numbers.
      table: table < 256 ? undefined : table,
      goto: rule.goto,
      suppressPrefixlen: rule.suppressPrefixLength,
      suppressIfgroup: rule.suppressGroup,
      l3mdev: rule.l3mdev ? 1 : undefined,
      uidRange: rule.users,
      protocol: rule.protocol,
      ipProto: rule.ipProtocol,
      sportRange: rule.sourcePorts,
      dportRange: rule.destinationPorts,
    },
  })
}

function describe(verb: string, family: Family, rule: NewRule): string {
  const words = [`${verb} IPv${family} rule`]
  if (rule.priority !== undefined) words.push(`${rule.priority}:`)
  if (rule.source !== undefined) words.push(`from ${formatPrefix(rule.source)}`)
  if (rule.destination !== undefined) words.push(`to ${formatPrefix(rule.destination)}`)
  if (rule.table !== undefined) words.push(`lookup ${rule.table}`)
  return words.join(' ')
}

/** `ip rule add`. An equal rule must not exist. */
export function addRuleRequest(rule: NewRule): Request {
  return messageFor(RouteMessage.newRule, NLM_F.CREATE | NLM_F.EXCL, 'add', rule)
}

/** `ip rule delete`: the first rule that has everything that is given. */
export function deleteRuleRequest(rule: NewRule): Request {
  return messageFor(RouteMessage.deleteRule, 0, 'delete', rule)
}
