/** `ip rule`: requests sent and answered at once. */

import type { Family } from '../../../address/address.ts'
import { Errno } from '../../../sys/errno.ts'
import { request } from '../../message.ts'
import type { NetlinkSocket } from '../../socket.ts'
import { familyNumber } from '../family.ts'
import { RouteMessage } from '../message-types.ts'
import { addRuleRequest, deleteRuleRequest, type NewRule } from './requests.ts'
import { decodeRule, type Rule, ruleFormat } from './rule.ts'

/** @throws NetlinkError, EEXIST when an equal rule exists */
export function addRule(socket: NetlinkSocket, rule: NewRule): void {
  socket.execute(addRuleRequest(rule))
}

/**
 * Deletes the first rule that has everything that is given.
 * @param options.missing "ignore" to accept that there is none
 * @returns whether there was one
 * @throws NetlinkError
 */
export function deleteRule(socket: NetlinkSocket, rule: NewRule, options: { missing?: 'ignore' } = {}): boolean {
  const [failure] = socket.tryAll([deleteRuleRequest(rule)])
  if (failure === undefined) return true
  if (options.missing === 'ignore' && failure.errno === Errno.ENOENT) return false
  throw failure
}

/** Which rules; all of them when empty. */
export interface RuleFilter {
  readonly family?: Family | undefined
  readonly priority?: number | undefined
  readonly table?: number | undefined
}

/** In the order in which they are asked, IPv4 first. @throws NetlinkError */
export function listRules(socket: NetlinkSocket, filter: RuleFilter = {}): Rule[] {
  const families: readonly Family[] = filter.family === undefined ? [4, 6] : [filter.family]
  return families.flatMap(family =>
    socket
      .dump(
        ruleFormat,
        request(ruleFormat, {
          type: RouteMessage.getRule,
          operation: `list IPv${family} rules`,
          header: { family: familyNumber(family) },
        }),
      )
      .map(decodeRule)
      .filter(rule => rule !== undefined)
      // The kernel has no filter for this dump; without IPv6 it answers with everything it has.
      .filter(rule => rule.family === family)
      .filter(rule => filter.priority === undefined || rule.priority === filter.priority)
      .filter(rule => filter.table === undefined || rule.table === filter.table),
  )
}
