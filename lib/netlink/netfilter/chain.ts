/** Chains. @see linux/netfilter/nf_tables.h, NFTA_CHAIN_* */

import { attributeTable, bytes, list, nested, string, u32be, u64be, type Values } from '../codec.ts'
import type { Request } from '../message.ts'
import { NLM_F, request } from '../message.ts'
import { signedBe } from './data.ts'
import { netfilterFormat } from './subsystem.ts'
import { type CreateOptions, createFlags, nftHeader, nftType, type TableName } from './table.ts'

/** NF_INET_*, which the bridge family's hooks equal in number. */
export const Hook = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4, ingress: 5 } as const

/** The names that nft gives to priorities; lower runs earlier. @see linux/netfilter_ipv4.h */
export const Priority = { raw: -300, mangle: -150, dstnat: -100, filter: 0, security: 50, srcnat: 100 } as const

/** NF_DROP, NF_ACCEPT */
export const Policy = { drop: 0, accept: 1 } as const

const hookAttributes = attributeTable('NFTA_HOOK', {
  hooknum: [1, u32be],
  priority: [2, signedBe],
  dev: [3, string],
  /** Elements are NFTA_DEVICE_NAME. */
  devs: [4, list(1, string)],
})

const chainAttributes = attributeTable('NFTA_CHAIN', {
  table: [1, string],
  handle: [2, u64be],
  name: [3, string],
  hook: [4, nested(hookAttributes)],
  policy: [5, u32be],
  /** How many rules are in it, and how many rules and map elements lead to it. */
  use: [6, u32be],
  type: [7, string],
  flags: [10, u32be],
  userdata: [12, bytes],
})

export const chainFormat = netfilterFormat(chainAttributes)

/** What the kernel tells of a chain. */
export type ChainValues = Values<typeof chainAttributes>

/** Which chain: `inet cnikit masquerade`. */
export interface ChainName extends TableName {
  readonly chain: string
}

/** Where the kernel calls a chain. */
export interface BaseChain {
  readonly type: 'filter' | 'nat' | 'route'
  readonly hook: keyof typeof Hook
  /** See {@link Priority}. */
  readonly priority: number
  readonly policy?: keyof typeof Policy
  /** Of the netdev family only. */
  readonly device?: string
}

const label = (name: ChainName) => `nftables chain "${name.family} ${name.table} ${name.chain}"`

/** `nft create chain`. @param base none for a chain that only rules lead to */
export function createChain(name: ChainName, base?: BaseChain, options: CreateOptions = {}): Request {
  return request(chainFormat, {
    type: nftType('newChain'),
    flags: createFlags(options),
    operation: `create ${label(name)}`,
    header: nftHeader(name.family),
    attributes: {
      table: name.table,
      name: name.chain,
      ...(base && {
        hook: { hooknum: Hook[base.hook], priority: base.priority, dev: base.device },
        policy: Policy[base.policy ?? 'accept'],
        type: base.type,
      }),
    },
  })
}

/** `nft delete chain`, with its rules. @param options.onlyEmpty fail with EBUSY while it holds rules */
export function deleteChain(name: ChainName, options: { onlyEmpty?: boolean } = {}): Request {
  return request(chainFormat, {
    type: nftType('deleteChain'),
    flags: options.onlyEmpty ? NLM_F.NONREC : 0,
    operation: `delete ${label(name)}`,
    header: nftHeader(name.family),
    attributes: { table: name.table, name: name.chain },
  })
}

/** Asks for one chain: `socket.get(chainFormat, getChain(name))`. */
export function getChain(name: ChainName): Request {
  return request(chainFormat, {
    type: nftType('getChain'),
    operation: `read ${label(name)}`,
    header: nftHeader(name.family),
    attributes: { table: name.table, name: name.chain },
  })
}

/** Asks for the chains of all tables of the family (the kernel does not filter by table): `socket.dump(chainFormat, ...)`. */
export function listChains(family: TableName['family']): Request {
  return request(chainFormat, {
    type: nftType('getChain'),
    operation: `list nftables chains of family ${family}`,
    header: nftHeader(family),
  })
}
