/** Values and verdicts, as rules and map elements hold them. @see linux/netfilter/nf_tables.h, NFTA_DATA_* */

import { attributeTable, bytes, type Codec, nested, string, u32be, type Values } from '../codec.ts'

/** A signed number in network order: verdict codes, priorities. */
export const signedBe: Codec<number> = {
  encode: (writer, value) => writer.u32be(value >>> 0),
  decode: reader => reader.u32be() | 0,
}

/** @see linux/netfilter.h and enum nft_verdicts */
export const Verdict = { drop: 0, accept: 1, continue: -1, break: -2, jump: -3, goto: -4, return: -5 } as const

const verdictAttributes = attributeTable('NFTA_VERDICT', {
  code: [1, signedBe],
  chain: [2, string],
  chainId: [3, u32be],
})

export const dataAttributes = attributeTable('NFTA_DATA', {
  value: [1, bytes],
  verdict: [2, nested(verdictAttributes)],
})
export const data = nested(dataAttributes)
export type Data = Values<typeof dataAttributes>

/** The register that holds the verdict; an immediate or lookup that writes it ends or redirects the evaluation. */
export const VERDICT_REGISTER = 0
/** The first of four registers of 16 bytes. */
export const REGISTER_1 = 1
/** The one behind it: a concatenation whose first field has 16 bytes goes on here. */
export const REGISTER_2 = 2
/** The first of sixteen registers of 4 bytes, which overlay the four: for the fields of a concatenation. */
export const REGISTER_32_0 = 8

/** The register so many words of 4 bytes behind the first, by the number with which the kernel gives it back. */
export function registerAt(words: number): number {
  return words % 4 === 0 ? REGISTER_1 + words / 4 : REGISTER_32_0 + words
}
