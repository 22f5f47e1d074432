/** Building blocks for rules of the bridge family, where packets are frames and nothing has been checked yet. */

import { type Expression, express } from './expression-attributes.ts'
import { compare, meta, PayloadBase, transportBytes } from './expressions.ts'

/** ETH_P_* of linux/if_ether.h */
const EtherType = { ip: 0x0800, arp: 0x0806, ip6: 0x86dd } as const
/** NEXTHDR_FRAGMENT */
const FRAGMENT_HEADER = 44
const ICMP = { ip: 1, ip6: 58 } as const
/** Without the bits "reserved", "don't fragment" and "more fragments". */
const FRAGMENT_OFFSET_MASK = [0x1f, 0xff] as const

/** `meta protocol ip` */
export function ofEtherType(type: keyof typeof EtherType): Expression[] {
  return [meta('protocol'), compare('eq', Uint8Array.of(EtherType[type] >> 8, EtherType[type] & 255))]
}

/** `meta l4proto icmp` */
export function isIcmp(family: keyof typeof ICMP): Expression[] {
  return [meta('l4proto'), compare('eq', Uint8Array.of(ICMP[family]))]
}

/** A fragment behind the first, which has no ports: `ip frag-off & 0x1fff != 0`, or any with `ip6 nexthdr ipv6-frag`. */
export function isLaterFragment(family: keyof typeof ICMP): Expression[] {
  if (family === 'ip6') return [networkHeader(6, 1), compare('eq', Uint8Array.of(FRAGMENT_HEADER))]
  return [
    networkHeader(6, 2),
    express('bitwise', {
      sreg: 1,
      dreg: 1,
      len: 2,
      mask: { value: Uint8Array.from(FRAGMENT_OFFSET_MASK) },
      xor: { value: Uint8Array.of(0, 0) },
    }),
    compare('neq', Uint8Array.of(0, 0)),
  ]
}

/** ICMPv6 message types of a range: `icmpv6 type 133-137`. */
export function icmpv6Types(first: number, last: number): Expression[] {
  return [
    ...isIcmp('ip6'),
    transportBytes(0, 1),
    express('range', {
      sreg: 1,
      op: 0,
      fromData: { value: Uint8Array.of(first) },
      toData: { value: Uint8Array.of(last) },
    }),
  ]
}

/** Loads the sender's or the target's IPv4 address of an ARP frame (RFC 826): `arp saddr ip`, `arp daddr ip`. */
export function arpAddress(which: 'saddr' | 'daddr'): Expression {
  return networkHeader(which === 'saddr' ? 14 : 24, 4)
}

/** Loads the address that a neighbour solicitation or advertisement is about (RFC 4861, 4.3 and 4.4). */
export function neighbourTarget(): Expression {
  return transportBytes(8, 16)
}

function networkHeader(offset: number, len: number): Expression {
  return express('payload', { dreg: 1, base: PayloadBase.network, offset, len })
}
