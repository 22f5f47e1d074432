/** Tables. @see linux/netfilter/nf_tables.h, NFTA_TABLE_* */

import { attributeTable, bytes, string, u32be, u64be } from '../codec.ts'
import type { Request } from '../message.ts'
import { NLM_F, request } from '../message.ts'
import { messageType, NetfilterFamily, type NetfilterFamilyName, netfilterFormat, Subsystem } from './subsystem.ts'

/** NFT_MSG_* */
export const NftMessage = {
  newTable: 0,
  getTable: 1,
  deleteTable: 2,
  newChain: 3,
  getChain: 4,
  deleteChain: 5,
  newRule: 6,
  getRule: 7,
  deleteRule: 8,
  newSet: 9,
  getSet: 10,
  deleteSet: 11,
  newElement: 12,
  getElement: 13,
  deleteElement: 14,
  newGeneration: 15,
  getGeneration: 16,
} as const

/** The type of an nftables message. */
export function nftType(message: keyof typeof NftMessage): number {
  return messageType(Subsystem.nftables, NftMessage[message])
}

/** Which table: `inet cnikit`. */
export interface TableName {
  readonly family: NetfilterFamilyName
  readonly table: string
}

/** The fixed part of every nftables message. */
export function nftHeader(family: NetfilterFamilyName): { family: number } {
  return { family: NetfilterFamily[family] }
}

/** How a creation treats an object that exists. */
export interface CreateOptions {
  /** It is an error (EEXIST); otherwise it is taken as it is, if the attributes agree. */
  readonly exclusive?: boolean
}

export function createFlags(options: CreateOptions): number {
  return NLM_F.CREATE | (options.exclusive ? NLM_F.EXCL : 0)
}

const tableAttributes = attributeTable('NFTA_TABLE', {
  name: [1, string],
  flags: [2, u32be],
  /** How many chains, sets and objects are in it. */
  use: [3, u32be],
  handle: [4, u64be],
  userdata: [6, bytes],
})

export const tableFormat = netfilterFormat(tableAttributes)

/** `nft create table`. */
export function createTable(name: TableName, options: CreateOptions = {}): Request {
  return request(tableFormat, {
    type: nftType('newTable'),
    flags: createFlags(options),
    operation: `create nftables table "${name.family} ${name.table}"`,
    header: nftHeader(name.family),
    attributes: { name: name.table },
  })
}

/** `nft delete table`. @param options.onlyEmpty fail with EBUSY while the table holds anything */
export function deleteTable(name: TableName, options: { onlyEmpty?: boolean } = {}): Request {
  return request(tableFormat, {
    type: nftType('deleteTable'),
    flags: options.onlyEmpty ? NLM_F.NONREC : 0,
    operation: `delete nftables table "${name.family} ${name.table}"`,
    header: nftHeader(name.family),
    attributes: { name: name.table },
  })
}

/** Asks for one table: `socket.get(tableFormat, getTable(name))`. */
export function getTable(name: TableName): Request {
  return request(tableFormat, {
    type: nftType('getTable'),
    operation: `read nftables table "${name.family} ${name.table}"`,
    header: nftHeader(name.family),
    attributes: { name: name.table },
  })
}
