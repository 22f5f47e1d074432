/**
 * Data that the kernel stores beside an object and gives back unread. The nft program writes it as one-byte type, one-byte
 * length and value (libnftnl/udata.h), and shows a comment found there.
 */

import { allocate, decodeText, encodeText } from '../../sys/bytes.ts'

/** The type of the comment among an object's user data. */
const COMMENT_TYPE = { table: 0, chain: 0, rule: 0, element: 0, set: 7 } as const
/** NFTNL_UDATA_COMMENT_MAXLEN, without the final NUL: nft refuses to load longer ones from a file. */
export const COMMENT_MAX_BYTES = 128

export type CommentedObject = keyof typeof COMMENT_TYPE

/** One entry of user data. */
export interface Entry {
  readonly type: number
  readonly value: Uint8Array
}

/** Writes entries one behind the other. */
export function userData(entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  let length = 0
  for (const { value } of entries) length += 2 + value.length
  const bytes = allocate(length)
  let offset = 0
  for (const { type, value } of entries) {
    bytes.set([type, value.length], offset)
    bytes.set(value, offset + 2)
    offset += 2 + value.length
  }
  return bytes
}

/** The entry for a comment. @throws RangeError beyond {@link COMMENT_MAX_BYTES} */
export function commentEntry(object: CommentedObject, comment: string): Entry {
  const text = encodeText(comment)
  if (text.length > COMMENT_MAX_BYTES) {
    throw new RangeError(`nftables comment of ${text.length} bytes, ${COMMENT_MAX_BYTES} at most: ${comment}`)
  }
  const value = allocate(text.length + 1)
  value.set(text)
  return { type: COMMENT_TYPE[object], value }
}

/** User data that holds a comment and nothing else. @throws RangeError beyond {@link COMMENT_MAX_BYTES} */
export function commentUserData(object: CommentedObject, comment: string): Uint8Array<ArrayBuffer> {
  return userData([commentEntry(object, comment)])
}

/** NFTNL_UDATA_SET_KEYBYTEORDER and ..._DATABYTEORDER: without them nft prints numbers as if in network order. */
export function hostOrderEntry(of: 'key' | 'data'): Entry {
  return { type: of === 'key' ? 0 : 1, value: Uint8Array.of(1, 0, 0, 0) }
}

/** The comment in an object's user data; undefined where there is none, or where the data is not of this form. */
export function commentOf(object: CommentedObject, userData: Uint8Array | undefined): string | undefined {
  if (userData === undefined) return undefined
  for (let offset = 0; offset + 2 <= userData.length; ) {
    const [type, length] = [userData[offset], userData[offset + 1] ?? 0]
    const value = userData.subarray(offset + 2, offset + 2 + length)
    if (type === COMMENT_TYPE[object] && value.length === length && length > 0) return decodeText(value.subarray(0, -1))
    offset += 2 + length
  }
  return undefined
}
