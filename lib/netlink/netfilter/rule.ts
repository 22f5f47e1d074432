/** Rules. @see linux/netfilter/nf_tables.h, NFTA_RULE_* */

import { attributeTable, bytes, list, string, u64be } from '../codec.ts'
import type { Request } from '../message.ts'
import { NLM_F, request } from '../message.ts'
import type { ChainName } from './chain.ts'
import { type Expression, expression } from './expression-attributes.ts'
import { netfilterFormat } from './subsystem.ts'
import { nftHeader, nftType } from './table.ts'
import { commentUserData } from './userdata.ts'

const ruleAttributes = attributeTable('NFTA_RULE', {
  table: [1, string],
  chain: [2, string],
  /** Given by the kernel; unique within the table. */
  handle: [3, u64be],
  expressions: [4, list(1, expression)],
  /** In requests: the handle of the rule to stand beside. */
  position: [6, u64be],
  userdata: [7, bytes],
})

export const ruleFormat = netfilterFormat(ruleAttributes)

const label = (name: ChainName) => `chain "${name.family} ${name.table} ${name.chain}"`

/** `nft add rule` (at the end), or `nft insert rule` (at the beginning) with `options.first`. */
export function createRule(
  name: ChainName,
  expressions: Expression[],
  options: { comment?: string; first?: boolean } = {},
): Request {
  return request(ruleFormat, {
    type: nftType('newRule'),
    flags: NLM_F.CREATE | (options.first ? 0 : NLM_F.APPEND),
    operation: `add nftables rule to ${label(name)}`,
    header: nftHeader(name.family),
    attributes: {
      table: name.table,
      chain: name.chain,
      expressions,
      ...(options.comment !== undefined && { userdata: commentUserData('rule', options.comment) }),
    },
  })
}

/** `nft delete rule ... handle N`. */
export function deleteRule(name: ChainName, handle: bigint): Request {
  return request(ruleFormat, {
    type: nftType('deleteRule'),
    operation: `delete nftables rule ${handle} from ${label(name)}`,
    header: nftHeader(name.family),
    attributes: { table: name.table, chain: name.chain, handle },
  })
}

/** Asks for the rules of a chain in their order: `socket.dump(ruleFormat, listRules(name))`. No chain gives no rules. */
export function listRules(name: ChainName): Request {
  return request(ruleFormat, {
    type: nftType('getRule'),
    operation: `list nftables rules of ${label(name)}`,
    header: nftHeader(name.family),
    attributes: { table: name.table, chain: name.chain },
  })
}
