/** Sets and maps. @see linux/netfilter/nf_tables.h, NFTA_SET_* */

import { attributeTable, bytes, list, nested, string, u32be, u64be, type Values } from '../codec.ts'
import type { Request } from '../message.ts'
import { NLM_F, request } from '../message.ts'
import { concatenatedLength, type Datatype, datatypeNumber, isHostOrder } from './datatype.ts'
import { type KeyField, keyFieldsEntry } from './key-fields.ts'
import { netfilterFormat } from './subsystem.ts'
import { type CreateOptions, createFlags, nftHeader, nftType, type TableName } from './table.ts'
import { commentEntry, hostOrderEntry, userData } from './userdata.ts'

/** NFT_SET_* */
export const SetFlag = {
  anonymous: 0x1,
  constant: 0x2,
  interval: 0x4,
  map: 0x8,
  timeout: 0x10,
  eval: 0x20,
  object: 0x40,
  concat: 0x80,
} as const

const NFT_DATA_VERDICT = 0xffffff00

const field = nested(attributeTable('NFTA_SET_FIELD', { len: [1, u32be] }))
const setDescription = attributeTable('NFTA_SET_DESC', { size: [1, u32be], concat: [2, list(1, field)] })

const setAttributes = attributeTable('NFTA_SET', {
  table: [1, string],
  name: [2, string],
  flags: [3, u32be],
  keyType: [4, u32be],
  keyLen: [5, u32be],
  dataType: [6, u32be],
  dataLen: [7, u32be],
  policy: [8, u32be],
  desc: [9, nested(setDescription)],
  id: [10, u32be],
  /** Milliseconds. */
  timeout: [11, u64be],
  gcInterval: [12, u32be],
  userdata: [13, bytes],
  objType: [15, u32be],
  handle: [16, u64be],
})

export const setFormat = netfilterFormat(setAttributes)

/** Which set or map: `inet cnikit ports`. */
export interface SetName extends TableName {
  readonly set: string
}

/** What a set holds. */
export interface SetType {
  /** One type, or several that are looked up together. */
  readonly key: readonly Datatype[]
  /** For nft: what the parts of the key are, and those of a map's value. Needed where one of them is a mere number. */
  readonly keyFields?: readonly KeyField[]
  readonly valueFields?: readonly KeyField[]
  /** Of a map: what an element leads to. */
  readonly value?: readonly Datatype[] | 'verdict'
  /** Whether elements are ranges. */
  readonly interval?: boolean
  /** How long an element lives, in milliseconds, unless it says otherwise. */
  readonly timeoutMs?: number
  /** How many elements at most. */
  readonly size?: number
  /** Whether rules may add elements (`dynset`). */
  readonly dynamic?: boolean
  readonly comment?: string
}

const label = (name: SetName) => `nftables set "${name.family} ${name.table} ${name.set}"`

/** Ranges of concatenated keys: the kernel keeps them in another structure, and must know where each field ends. */
const isConcatenatedInterval = (type: SetType) => type.interval === true && type.key.length > 1

function flagsOf(type: SetType): number {
  return (
    (type.interval ? SetFlag.interval : 0) |
    (type.value ? SetFlag.map : 0) |
    (type.timeoutMs !== undefined ? SetFlag.timeout : 0) |
    (type.dynamic ? SetFlag.eval : 0) |
    (isConcatenatedInterval(type) ? SetFlag.concat : 0)
  )
}

function describe(type: SetType): Values<typeof setDescription> | undefined {
  if (isConcatenatedInterval(type)) {
    return { size: type.size, concat: type.key.map(part => ({ len: concatenatedLength([part]) })) }
  }
  return type.size === undefined ? undefined : { size: type.size }
}

/** What nft wants to know when it prints the set. */
function notesFor({ key, keyFields, value, valueFields, comment }: SetType): Uint8Array | undefined {
  const entries = [
    ...(isHostOrder(key) ? [hostOrderEntry('key')] : []),
    ...(keyFields ? [keyFieldsEntry('key', keyFields)] : []),
    ...(valueFields ? [keyFieldsEntry('data', valueFields)] : []),
    ...(Array.isArray(value) && isHostOrder(value) ? [hostOrderEntry('data')] : []),
    ...(comment !== undefined ? [commentEntry('set', comment)] : []),
  ]
  return entries.length > 0 ? userData(entries) : undefined
}

/** What the kernel keeps of a type, and gives back as it was sent. */
export function setValues(type: SetType): Values<typeof setAttributes> {
  const { key, value } = type
  return {
    flags: flagsOf(type),
    keyType: datatypeNumber(key),
    keyLen: concatenatedLength(key),
    ...(value !== undefined && {
      dataType: value === 'verdict' ? NFT_DATA_VERDICT : datatypeNumber(value),
      dataLen: value === 'verdict' ? 0 : concatenatedLength(value),
    }),
  }
}

/** `nft create set`, or `create map` where the type has a value. */
export function createSet(name: SetName, type: SetType, options: CreateOptions = {}): Request {
  return request(setFormat, {
    type: nftType('newSet'),
    flags: createFlags(options),
    operation: `create ${label(name)}`,
    header: nftHeader(name.family),
    attributes: {
      table: name.table,
      name: name.set,
      ...setValues(type),
      desc: describe(type),
      // The kernel wants an identifier, by which later messages of the batch could name an anonymous set.
      id: 1,
      ...(type.timeoutMs !== undefined && { timeout: BigInt(type.timeoutMs) }),
      userdata: notesFor(type),
    },
  })
}

/** `nft delete set`, with its elements. @param options.onlyEmpty fail with EBUSY while it holds elements */
export function deleteSet(name: SetName, options: { onlyEmpty?: boolean } = {}): Request {
  return request(setFormat, {
    type: nftType('deleteSet'),
    flags: options.onlyEmpty ? NLM_F.NONREC : 0,
    operation: `delete ${label(name)}`,
    header: nftHeader(name.family),
    attributes: { table: name.table, name: name.set },
  })
}

/** Asks for one set: `socket.get(setFormat, getSet(name))`. */
export function getSet(name: SetName): Request {
  return request(setFormat, {
    type: nftType('getSet'),
    operation: `read ${label(name)}`,
    header: nftHeader(name.family),
    attributes: { table: name.table, name: name.set },
  })
}

/** Asks for the sets and maps of a table: `socket.dump(setFormat, listSets(name))`. No table is an ENOENT error. */
export function listSets(name: TableName): Request {
  return request(setFormat, {
    type: nftType('getSet'),
    operation: `list nftables sets of table "${name.family} ${name.table}"`,
    header: nftHeader(name.family),
    attributes: { table: name.table },
  })
}
