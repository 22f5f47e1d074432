/**
 * Building blocks for rules that send connections elsewhere: keys made of several fields, values looked up in maps, and
 * the translation itself. They are general: what leads where is in the maps, so that there are as many rules for a
 * thousand services as for one.
 */

import { registerAt } from './data.ts'
import { type Expression, express } from './expression-attributes.ts'
import { address, addressFields, compare, type IpFamilyName, meta, PayloadBase } from './expressions.ts'

/** enum nft_nat_types */
const NatType = { snat: 0, dnat: 1 } as const
/** enum nft_ng_types, NFT_NG_RANDOM */
const RANDOM = 1
/** enum nft_hash_types, NFT_HASH_JENKINS */
const JENKINS = 0
/** Behind the longest key in use, which has 7 words; 16 bytes. */
const SCRATCH_REGISTER = registerAt(8)
/** enum nft_fib_result and flags NFTA_FIB_F_* */
const FIB_ADDRESS_TYPE = 3
const FibFlag = { saddr: 1, daddr: 2 } as const
/** RTN_* of linux/rtnetlink.h */
const AddressType = { local: 2 } as const
/** enum nft_ct_keys, and the bits: NF_CT_STATE_BIT(), IPS_DST_NAT */
const conntrackBits = {
  established: { key: 0, bit: 2 },
  related: { key: 0, bit: 4 },
  dnat: { key: 2, bit: 32 },
} as const

/** One part of a key: how it is loaded, and how many registers of 4 bytes it takes. */
export interface KeyPart {
  readonly words: number
  load(register: number): Expression[]
}

/** `meta l4proto` */
export const protocolField: KeyPart = { words: 1, load: register => [meta('l4proto', register)] }

/** `th dport`: TCP, UDP and SCTP have their ports at the same place. */
export function portField(which: 'sport' | 'dport'): KeyPart {
  const offset = which === 'sport' ? 0 : 2
  const load = (register: number) => [
    express('payload', { dreg: register, base: PayloadBase.transport, offset, len: 2 }),
  ]
  return { words: 1, load }
}

/** `ip daddr` */
export function addressField(family: IpFamilyName, which: 'saddr' | 'daddr'): KeyPart {
  const { length } = addressFields[family]
  return { words: length / 4, load: register => [address(family, which, register)] }
}

/** `numgen random mod 16 offset 16`: one of `modulus` numbers from `offset` on. */
export function randomField(modulus: number, offset: number): KeyPart {
  return { words: 1, load: register => [express('numgen', { dreg: register, modulus, type: RANDOM, offset })] }
}

/** `jhash ip saddr mod 16 seed 0x2a offset 16`: always the same number for a source address, on every host. */
export function sourceHashField(family: IpFamilyName, modulus: number, offset: number, seed: number): KeyPart {
  const { length } = addressFields[family]
  const load = (register: number) => [
    address(family, 'saddr', SCRATCH_REGISTER),
    express('hash', { sreg: SCRATCH_REGISTER, dreg: register, len: length, modulus, seed, offset, type: JENKINS }),
  ]
  return { words: 1, load }
}

/** Loads fields one behind the other from the first register on, as sets and maps want a concatenated key. */
export function loadKey(...fields: readonly KeyPart[]): Expression[] {
  let words = 0
  return fields.flatMap(field => {
    const expressions = field.load(registerAt(words))
    words += field.words
    return expressions
  })
}

/** Replaces the key in the first register by the map's value; goes on only if there is one. */
export function lookUp(map: string): Expression {
  return express('lookup', { set: map, sreg: registerAt(0), dreg: registerAt(0) })
}

/** Loads a value that the rule itself knows. */
export function immediate(value: Uint8Array, words = 0): Expression {
  return express('immediate', { dreg: registerAt(words), data: { value } })
}

/**
 * Translates the connection to (`dnat`), or makes it come from (`snat`), the address in the first register.
 * @param withPort whether a port follows the address there
 */
export function translate(type: keyof typeof NatType, family: IpFamilyName, withPort = false): Expression {
  const { nfproto, length } = addressFields[family]
  return express('nat', {
    type: NatType[type],
    family: nfproto,
    regAddrMin: registerAt(0),
    ...(withPort && { regProtoMin: registerAt(length / 4) }),
  })
}

/** `fib daddr type local`: whether it is an address of this network namespace itself. */
export function isLocal(which: keyof typeof FibFlag): Expression[] {
  return [
    express('fib', { dreg: registerAt(0), result: FIB_ADDRESS_TYPE, flags: FibFlag[which] }),
    compare('eq', Uint8Array.of(AddressType.local, 0, 0, 0)),
  ]
}

/** `ct state established,related`, `ct status dnat`: whether the connection is any of these. All are of one kind. */
export function connectionIs(...which: readonly (keyof typeof conntrackBits)[]): Expression[] {
  const [first] = which
  if (first === undefined) throw new TypeError('netfilter: nothing to compare a connection with')
  const bits = which.reduce((sum, name) => sum | conntrackBits[name].bit, 0)
  return [
    express('ct', { dreg: registerAt(0), key: conntrackBits[first].key }),
    express('bitwise', {
      sreg: registerAt(0),
      dreg: registerAt(0),
      len: 4,
      mask: { value: Uint8Array.of(bits, 0, 0, 0) },
      xor: { value: new Uint8Array(4) },
    }),
    compare('neq', new Uint8Array(4)),
  ]
}

/**
 * `tcp flags syn / syn,rst tcp option maxseg size set rt mtu`: connections through here agree on segments that fit the
 * route, also where the messages that say "too big" are lost.
 */
export function clampSegmentSize(): Expression[] {
  const register = registerAt(0)
  const [syn, rst] = [2, 4]
  return [
    meta('l4proto'),
    compare('eq', Uint8Array.of(6)),
    express('payload', { dreg: register, base: PayloadBase.transport, offset: 13, len: 1 }),
    express('bitwise', {
      sreg: register,
      dreg: register,
      len: 1,
      mask: { value: Uint8Array.of(syn | rst) },
      xor: { value: Uint8Array.of(0) },
    }),
    compare('eq', Uint8Array.of(syn)),
    // NFT_RT_TCPMSS, to network order, into bytes 2 and 3 of TCP option 2.
    express('rt', { dreg: register, key: 3 }),
    express('byteorder', { sreg: register, dreg: register, op: 1, len: 2, size: 2 }),
    express('exthdr', { sreg: register, type: 2, offset: 2, len: 2, op: 1 }),
  ]
}
