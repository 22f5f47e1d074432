/**
 * What the parts of a set's keys and values are, in the form in which nft keeps it beside the set ("typeof udp dport .
 * ip saddr"): without it nft cannot print, or not load again, parts that are mere numbers. The kernel does not read it.
 * @see nft's src/netlink.c, set_key_expression; the build_udata of each expression; include/proto.h
 */

import { allocate } from '../../sys/bytes.ts'
import { type Entry, userData } from './userdata.ts'

/** enum expr_types */
const ExpressionType = { payload: 7, meta: 9, concatenation: 13, numgen: 23 } as const
/** NFTNL_UDATA_SET_KEY_TYPEOF, NFTNL_UDATA_SET_DATA_TYPEOF */
const TYPEOF = { key: 3, data: 4 } as const
/** NFTNL_UDATA_SET_TYPEOF_EXPR, NFTNL_UDATA_SET_TYPEOF_DATA; and in the parts of a concatenation likewise. */
const [TYPEOF_EXPR, TYPEOF_DATA] = [0, 1]
/** PROTO_BASE_TRANSPORT_HDR */
const TRANSPORT_HEADER = 3

/**
 * Expressions by what nft calls them, with what it notes of them. Of the packet: protocol (enum proto_desc_id) and field
 * of it (enum udp_hdr_fields, th_hdr_fields, ip_hdr_fields, ip6_hdr_fields). Of a number generator: its kind and modulus,
 * which need not be that of any rule.
 */
const named = {
  'udp dport': [ExpressionType.payload, 6, 2],
  'th dport': [ExpressionType.payload, 11, 2],
  'ip saddr': [ExpressionType.payload, 12, 11],
  'ip daddr': [ExpressionType.payload, 12, 12],
  'ip6 saddr': [ExpressionType.payload, 13, 8],
  'ip6 daddr': [ExpressionType.payload, 13, 9],
  'meta l4proto': [ExpressionType.meta, 16],
  'numgen random mod 16': [ExpressionType.numgen, 1, 16, 0],
} as const

/** An expression by nft's name, or so many bits at a position of the transport header: `@th,96,24`. */
export type KeyField = keyof typeof named | { readonly offset: number; readonly length: number }

/** Numbers are in the host's byte order; all that cnikit runs on is little-endian. */
const numbers = (values: readonly number[]): Entry[] =>
  values.map((value, type) => {
    const bytes = allocate(4)
    new DataView(bytes.buffer).setUint32(0, value, true)
    return { type, value: bytes }
  })

function described(expression: number, details: readonly Entry[]): Uint8Array {
  return userData([
    ...numbers([expression]).map(entry => ({ ...entry, type: TYPEOF_EXPR })),
    { type: TYPEOF_DATA, value: userData(details) },
  ])
}

function describedField(field: KeyField): Uint8Array {
  if (typeof field !== 'string')
    return described(ExpressionType.payload, numbers([0, 0, TRANSPORT_HEADER, field.offset, field.length]))
  const [expression, ...values] = named[field]
  return described(expression, numbers(values))
}

/** The entry in a set's user data for the fields of its keys or values. */
export function keyFieldsEntry(of: keyof typeof TYPEOF, fields: readonly KeyField[]): Entry {
  const values = fields.map(describedField)
  const [only] = values
  if (only !== undefined && values.length === 1) return { type: TYPEOF[of], value: only }
  const parts = values.map((value, type) => ({ type, value }))
  return { type: TYPEOF[of], value: described(ExpressionType.concatenation, parts) }
}
