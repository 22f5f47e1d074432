/**
 * Building blocks of rules, as nft compiles them: a value is loaded into a register, compared or looked up, and the
 * rule goes on as long as everything matches. Functions that give several expressions are spread into a rule.
 */

import { allocate } from '../../sys/bytes.ts'
import { REGISTER_1, VERDICT_REGISTER, Verdict } from './data.ts'
import { type Expression, express } from './expression-attributes.ts'

/** enum nft_payload_bases */
export const PayloadBase = { link: 0, network: 1, transport: 2 } as const
/** enum nft_cmp_ops */
const Comparison = { eq: 0, neq: 1 } as const
/** enum nft_meta_keys */
const MetaKey = { protocol: 1, mark: 3, iifname: 6, oifname: 7, nfproto: 15, l4proto: 16, iifgroup: 21 } as const
/** enum nft_ct_keys */
const CtKey = { state: 0, status: 2 } as const
/** IPPROTO_* */
const protocols = { tcp: 6, udp: 17 } as const
/** IPS_*, linux/netfilter/nf_conntrack_common.h */
const connectionStates = { dnat: 1 << 5 } as const
/** NFT_LOOKUP_F_INV */
const LOOKUP_INVERTED = 1
/** NF_CT_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED, linux/netfilter/nf_conntrack_common.h */
const STATE_ESTABLISHED = 1 << 1
const STATE_RELATED = 1 << 2
/** Where the source address lies in an Ethernet header. @see linux/if_ether.h, struct ethhdr */
const etherSourceField = { offset: 6, length: 6 } as const
/** Where the addresses lie in the network header, and how long they are. */
export const addressFields = {
  ip: { nfproto: 2, length: 4, saddr: 12, daddr: 16 },
  ip6: { nfproto: 10, length: 16, saddr: 8, daddr: 24 },
} as const

export type IpFamilyName = keyof typeof addressFields

/** Loads something of the packet that is not in its bytes: `meta iifname`. */
export function meta(key: keyof typeof MetaKey, register = REGISTER_1): Expression {
  return express('meta', { dreg: register, key: MetaKey[key] })
}

/** Goes on if the register holds the value, or does not. */
export function compare(operator: keyof typeof Comparison, value: Uint8Array, register = REGISTER_1): Expression {
  return express('cmp', { sreg: register, op: Comparison[operator], data: { value } })
}

/** `meta nfproto ipv4`: in a table of both families, what a rule about addresses must begin with. */
export function ofFamily(family: IpFamilyName): Expression[] {
  return [meta('nfproto'), compare('eq', Uint8Array.of(addressFields[family].nfproto))]
}

/** Loads the source or destination address. */
export function address(family: IpFamilyName, which: 'saddr' | 'daddr', register = REGISTER_1): Expression {
  const field = addressFields[family]
  return express('payload', {
    dreg: register,
    base: PayloadBase.network,
    offset: field[which],
    len: field.length,
  })
}

/** Loads bytes of the transport header, or behind it: `@th,16,16` is the destination port. */
export function transportBytes(offset: number, length: number, register = REGISTER_1): Expression {
  return express('payload', { dreg: register, base: PayloadBase.transport, offset, len: length })
}

/** `meta l4proto udp`. */
export function ofProtocol(protocol: keyof typeof protocols): Expression[] {
  return [meta('l4proto'), compare('eq', Uint8Array.of(protocols[protocol]))]
}

/** Whether some bit of the register's 4 bytes is among these, or none is. Both are kept in the host's byte order. */
function bitsOfRegister(bits: number, some: boolean): Expression[] {
  const mask = new Uint8Array(Uint32Array.of(bits).buffer)
  return [
    express('bitwise', {
      sreg: REGISTER_1,
      dreg: REGISTER_1,
      len: 4,
      mask: { value: mask },
      xor: { value: allocate(4) },
    }),
    compare(some ? 'neq' : 'eq', allocate(4)),
  ]
}

/** `ct status != dnat`: the packet belongs to no connection whose destination was changed. */
export function withoutStatus(state: keyof typeof connectionStates): Expression[] {
  return [express('ct', { dreg: REGISTER_1, key: CtKey.status }), ...bitsOfRegister(connectionStates[state], false)]
}

/** `ct state established,related`: the packet belongs to a connection that has been answered, or to one of its makings. */
export function ofKnownConnection(): Expression[] {
  const state = express('ct', { dreg: REGISTER_1, key: CtKey.state })
  return [state, ...bitsOfRegister(STATE_ESTABLISHED | STATE_RELATED, true)]
}

/** Loads the source address of an Ethernet frame: `ether saddr`. */
export function etherSource(register = REGISTER_1): Expression {
  const { offset, length } = etherSourceField
  return express('payload', { dreg: register, base: PayloadBase.link, offset, len: length })
}

/** `ip daddr 10.1.0.0/16` or `!=`. @param network with host bits cleared */
export function addressInNetwork(
  family: IpFamilyName,
  which: 'saddr' | 'daddr',
  operator: keyof typeof Comparison,
  network: Uint8Array,
  prefixLength: number,
): Expression[] {
  const { length } = addressFields[family]
  const mask = allocate(length)
  for (let index = 0; index < length; index++) {
    mask[index] = 0xff00 >> Math.min(8, Math.max(0, prefixLength - index * 8))
  }
  return [
    address(family, which),
    express('bitwise', {
      sreg: REGISTER_1,
      dreg: REGISTER_1,
      len: length,
      mask: { value: mask },
      xor: { value: allocate(length) },
    }),
    compare(operator, network),
  ]
}

/** Goes on if the set has the register's value: `@addresses`. */
export function inSet(set: string, register = REGISTER_1): Expression {
  return express('lookup', { set, sreg: register })
}

/** Goes on if the set does not have the register's value: `!= @addresses`. */
export function notInSet(set: string, register = REGISTER_1): Expression {
  return express('lookup', { set, sreg: register, flags: LOOKUP_INVERTED })
}

/** What a verdict map says for the register's value; goes on if nothing. */
export function verdictMap(map: string, register = REGISTER_1): Expression {
  return express('lookup', { set: map, sreg: register, dreg: VERDICT_REGISTER })
}

/** Ends the rule. @param chain of a jump or goto */
export function verdict(code: keyof typeof Verdict, chain?: string): Expression {
  return express('immediate', { dreg: VERDICT_REGISTER, data: { verdict: { code: Verdict[code], chain } } })
}

/** Replaces the source address by that of the interface through which the packet leaves. */
export function masquerade(): Expression {
  return express('masq', {})
}

/** Counts packets and bytes. */
export function counter(): Expression {
  return express('counter', { bytes: 0n, packets: 0n })
}
