/**
 * The expressions that rules are made of: one table per kind, named as the kernel names it. expressions.ts builds them.
 * @see linux/netfilter/nf_tables.h
 */

import { attributeTable, bytes, list, nested, string, u8, u32be, u64be, type Values, variant } from '../codec.ts'
import { data } from './data.ts'

const counter = attributeTable('NFTA_COUNTER', { bytes: [1, u64be], packets: [2, u64be] })

const limit = attributeTable('NFTA_LIMIT', {
  rate: [1, u64be],
  /** Seconds. */
  unit: [2, u64be],
  burst: [3, u32be],
  /** 0 packets, 1 bytes. */
  type: [4, u32be],
  flags: [5, u32be],
})

/** What may be kept in an element of a set: counters and limits. */
const statefulExpression = nested(
  attributeTable('NFTA_EXPR', { name: [1, string], data: [2, variant('name', () => ({ counter, limit }))] }),
)

const tables = {
  bitwise: attributeTable('NFTA_BITWISE', {
    sreg: [1, u32be],
    dreg: [2, u32be],
    len: [3, u32be],
    mask: [4, data],
    xor: [5, data],
    op: [6, u32be],
    data: [7, data],
  }),
  byteorder: attributeTable('NFTA_BYTEORDER', {
    sreg: [1, u32be],
    dreg: [2, u32be],
    op: [3, u32be],
    len: [4, u32be],
    size: [5, u32be],
  }),
  cmp: attributeTable('NFTA_CMP', { sreg: [1, u32be], op: [2, u32be], data: [3, data] }),
  counter,
  ct: attributeTable('NFTA_CT', { dreg: [1, u32be], key: [2, u32be], direction: [3, u8], sreg: [4, u32be] }),
  dynset: attributeTable('NFTA_DYNSET', {
    setName: [1, string],
    setId: [2, u32be],
    op: [3, u32be],
    sregKey: [4, u32be],
    sregData: [5, u32be],
    /** Milliseconds. */
    timeout: [6, u64be],
    expr: [7, statefulExpression],
    flags: [9, u32be],
    expressions: [10, list(1, statefulExpression)],
  }),
  exthdr: attributeTable('NFTA_EXTHDR', {
    dreg: [1, u32be],
    type: [2, u8],
    offset: [3, u32be],
    len: [4, u32be],
    flags: [5, u32be],
    op: [6, u32be],
    sreg: [7, u32be],
  }),
  fib: attributeTable('NFTA_FIB', { dreg: [1, u32be], result: [2, u32be], flags: [3, u32be] }),
  hash: attributeTable('NFTA_HASH', {
    sreg: [1, u32be],
    dreg: [2, u32be],
    len: [3, u32be],
    modulus: [4, u32be],
    seed: [5, u32be],
    offset: [6, u32be],
    type: [7, u32be],
  }),
  immediate: attributeTable('NFTA_IMMEDIATE', { dreg: [1, u32be], data: [2, data] }),
  limit,
  lookup: attributeTable('NFTA_LOOKUP', {
    set: [1, string],
    sreg: [2, u32be],
    dreg: [3, u32be],
    setId: [4, u32be],
    flags: [5, u32be],
  }),
  masq: attributeTable('NFTA_MASQ', { flags: [1, u32be], regProtoMin: [2, u32be], regProtoMax: [3, u32be] }),
  /** An xtables match within nftables, as iptables-nft makes them; `info` is the match's own structure. */
  match: attributeTable('NFTA_MATCH', { name: [1, string], rev: [2, u32be], info: [3, bytes] }),
  meta: attributeTable('NFTA_META', { dreg: [1, u32be], key: [2, u32be], sreg: [3, u32be] }),
  nat: attributeTable('NFTA_NAT', {
    type: [1, u32be],
    family: [2, u32be],
    regAddrMin: [3, u32be],
    regAddrMax: [4, u32be],
    regProtoMin: [5, u32be],
    regProtoMax: [6, u32be],
    flags: [7, u32be],
  }),
  notrack: attributeTable('NFTA_NOTRACK', {}),
  numgen: attributeTable('NFTA_NG', { dreg: [1, u32be], modulus: [2, u32be], type: [3, u32be], offset: [4, u32be] }),
  objref: attributeTable('NFTA_OBJREF', {
    immType: [1, u32be],
    immName: [2, string],
    setSreg: [3, u32be],
    setName: [4, string],
    setId: [5, u32be],
  }),
  payload: attributeTable('NFTA_PAYLOAD', {
    dreg: [1, u32be],
    base: [2, u32be],
    offset: [3, u32be],
    len: [4, u32be],
    sreg: [5, u32be],
    csumType: [6, u32be],
    csumOffset: [7, u32be],
    csumFlags: [8, u32be],
  }),
  range: attributeTable('NFTA_RANGE', { sreg: [1, u32be], op: [2, u32be], fromData: [3, data], toData: [4, data] }),
  redir: attributeTable('NFTA_REDIR', { regProtoMin: [1, u32be], regProtoMax: [2, u32be], flags: [3, u32be] }),
  reject: attributeTable('NFTA_REJECT', { type: [1, u32be], icmpCode: [2, u8] }),
  rt: attributeTable('NFTA_RT', { dreg: [1, u32be], key: [2, u32be] }),
  /** An xtables target within nftables. */
  target: attributeTable('NFTA_TARGET', { name: [1, string], rev: [2, u32be], info: [3, bytes] }),
}

export type ExpressionKind = keyof typeof tables
/** The attributes of one kind of expression. */
export type ExpressionData<K extends ExpressionKind> = Values<(typeof tables)[K]>

const expressionAttributes = attributeTable('NFTA_EXPR', {
  name: [1, string],
  data: [2, variant('name', () => tables)],
})

/** An expression as attributes; one of a kind that is not listed here keeps its data as `raw` bytes. */
export const expression = nested(expressionAttributes)
export type Expression = Values<typeof expressionAttributes>

/** Any expression, by its attributes: `express('masq', {})`. */
export function express<K extends ExpressionKind>(kind: K, attributes: ExpressionData<K>): Expression {
  return { name: kind, data: attributes }
}

/** The attributes of an expression if it is of this kind. */
export function expressionData<K extends ExpressionKind>(kind: K, value: Expression): ExpressionData<K> | undefined {
  // The variant codec decoded `data` by this very name.
  return value.name === kind ? (value.data as ExpressionData<K>) : undefined
}
