/** What nft calls the data types of keys and values: the kernel only stores the number, and nft prints by it. */

/** Number in nft's src/datatype.h (enum datatypes) and length in bytes. */
const datatypes = {
  mark: [19, 4],
  ether_addr: [9, 6],
  ifname: [41, 16],
  /** Mere numbers. nft has one type for those of every length and order, which a set tells it otherwise (`keyFields`). */
  integer24: [4, 3],
  integer32: [4, 4],
  integer128: [4, 16],
  inet_proto: [12, 1],
  inet_service: [13, 2],
  ipv4_addr: [7, 4],
  ipv6_addr: [8, 16],
} as const satisfies Record<string, readonly [number: number, length: number]>

export type Datatype = keyof typeof datatypes

/** The number of a type, or of a concatenation, whose parts nft packs into six bits each, the first in the highest. */
export function datatypeNumber(parts: readonly Datatype[]): number {
  return parts.reduce((number, part) => (number << 6) | datatypes[part][0], 0)
}

/**
 * Whether nft takes it as a number in the host's byte order, which it also does with names of interfaces; all else is as
 * it is in packets.
 */
export function isHostOrder(parts: readonly Datatype[]): boolean {
  const [only] = parts
  return parts.length === 1 && (only === 'mark' || only === 'ifname')
}

/** Bytes of a key. Each part of a concatenation begins in a register of its own, which has 4 bytes. */
export function concatenatedLength(parts: readonly Datatype[]): number {
  const [first] = parts
  if (parts.length === 1 && first !== undefined) return datatypes[first][1]
  return parts.reduce((length, part) => length + ((datatypes[part][1] + 3) & -4), 0)
}
