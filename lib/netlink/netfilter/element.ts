/** Elements of sets and maps. @see linux/netfilter/nf_tables.h, NFTA_SET_ELEM_* */

import { attributeTable, bytes, list, nested, string, u32be, u64be, type Values } from '../codec.ts'
import type { Request } from '../message.ts'
import { request } from '../message.ts'
import { data, Verdict } from './data.ts'
import type { SetName } from './set.ts'
import { netfilterFormat } from './subsystem.ts'
import { type CreateOptions, createFlags, nftHeader, nftType } from './table.ts'
import { commentOf, commentUserData } from './userdata.ts'

/** NFT_SET_ELEM_* */
const ElementFlag = { intervalEnd: 0x1, catchAll: 0x2 } as const

const elementAttributes = attributeTable('NFTA_SET_ELEM', {
  key: [1, data],
  data: [2, data],
  flags: [3, u32be],
  /** Milliseconds. */
  timeout: [4, u64be],
  expiration: [5, u64be],
  userdata: [6, bytes],
  objref: [9, string],
  /** The last key of a range, in sets of concatenations. */
  keyEnd: [10, data],
})

const elementListAttributes = attributeTable('NFTA_SET_ELEM_LIST', {
  table: [1, string],
  set: [2, string],
  elements: [3, list(1, nested(elementAttributes))],
})

export const elementFormat = netfilterFormat(elementListAttributes)

/** An element. Keys and values have the bytes of the packet (network order), fields of a concatenation padded to 4 bytes. */
export interface SetElement {
  readonly key: Uint8Array
  /** Of a range in a set of concatenations: its last key. */
  readonly keyEnd?: Uint8Array
  /** Of a range in a set of single keys: whether `key` is the first that no longer belongs to it. */
  readonly intervalEnd?: boolean
  /** Of a map. */
  readonly value?: Uint8Array
  /** Of a verdict map. */
  readonly verdict?: { readonly code: keyof typeof Verdict; readonly chain?: string }
  readonly comment?: string
}

type ElementValues = Values<typeof elementAttributes>

function toAttributes(element: SetElement): ElementValues {
  const { verdict } = element
  return {
    key: { value: element.key },
    ...(element.keyEnd && { keyEnd: { value: element.keyEnd } }),
    ...(element.value && { data: { value: element.value } }),
    ...(verdict && { data: { verdict: { code: Verdict[verdict.code], chain: verdict.chain } } }),
    ...(element.intervalEnd && { flags: ElementFlag.intervalEnd }),
    ...(element.comment !== undefined && { userdata: commentUserData('element', element.comment) }),
  }
}

const verdictNames = new Map(Object.entries(Verdict).map(([name, code]) => [code, name as keyof typeof Verdict]))

function fromAttributes(values: ElementValues): SetElement | undefined {
  const key = values.key?.value
  // The element that stands for all other keys has none.
  if (key === undefined) return undefined
  const verdict = values.data?.verdict
  const code = verdictNames.get((verdict?.code ?? Number.NaN) as (typeof Verdict)[keyof typeof Verdict])
  const comment = commentOf('element', values.userdata)
  return {
    key,
    ...(values.keyEnd?.value && { keyEnd: values.keyEnd.value }),
    ...(((values.flags ?? 0) & ElementFlag.intervalEnd) !== 0 && { intervalEnd: true }),
    ...(values.data?.value && { value: values.data.value }),
    ...(code && { verdict: { code, ...(verdict?.chain !== undefined && { chain: verdict.chain }) } }),
    ...(comment !== undefined && { comment }),
  }
}

function elementRequest(
  message: 'newElement' | 'getElement' | 'deleteElement',
  name: SetName,
  elements: readonly SetElement[],
  flags = 0,
): Request {
  const verb = { newElement: 'add elements to', getElement: 'look up in', deleteElement: 'delete elements from' }[
    message
  ]
  return request(elementFormat, {
    type: nftType(message),
    flags,
    operation: `${verb} nftables set "${name.family} ${name.table} ${name.set}"`,
    header: nftHeader(name.family),
    attributes: { table: name.table, set: name.set, elements: elements.map(toAttributes) },
  })
}

/**
 * `nft create element` (exclusive) or `nft add element`. Adding one that exists changes nothing of it, its comment
 * included, and is an error (EBUSY) when it leads elsewhere.
 */
export function createElements(name: SetName, elements: readonly SetElement[], options: CreateOptions = {}): Request {
  return elementRequest('newElement', name, elements, createFlags(options))
}

/** `nft delete element`; ENOENT when one of them is not there. Only keys count. */
export function deleteElements(name: SetName, elements: readonly SetElement[]): Request {
  const keys = elements.map(({ key, keyEnd, intervalEnd }) => ({
    key,
    ...(keyEnd && { keyEnd }),
    ...(intervalEnd && { intervalEnd }),
  }))
  return elementRequest('deleteElement', name, keys)
}

/** Asks for the element that a key finds: `socket.get(elementFormat, getElement(name, key))`. */
export function getElement(name: SetName, key: Uint8Array): Request {
  return elementRequest('getElement', name, [{ key }])
}

/** Asks for all elements: `socket.dump(elementFormat, listElements(name))`, each answer with some of them. */
export function listElements(name: SetName): Request {
  return request(elementFormat, {
    type: nftType('getElement'),
    operation: `list nftables set "${name.family} ${name.table} ${name.set}"`,
    header: nftHeader(name.family),
    attributes: { table: name.table, set: name.set },
  })
}

/** The elements in an answer to `getElement` or `listElements`. */
export function elementsOf(answer: { readonly attributes: Values<typeof elementListAttributes> }): SetElement[] {
  return (answer.attributes.elements ?? []).map(fromAttributes).filter(element => element !== undefined)
}
