/** Attributes that a link message has, also as the other end within a veth's. @see linux/if_link.h, IFLA_* */

import { encodeText } from '../../../sys/bytes.ts'
import { type Codec, i32, string, u32 } from '../../codec.ts'
import { mac } from '../value-codecs.ts'

/** Without a final NUL: no bytes at all remove the alias. */
const alias: Codec<string> = {
  encode: (writer, value) => writer.bytes(encodeText(value)),
  decode: reader => reader.text(),
}

export const commonLinkAttributes = {
  address: [1, mac],
  broadcast: [2, mac],
  ifname: [3, string],
  mtu: [4, u32],
  link: [5, u32],
  master: [10, u32],
  txqlen: [13, u32],
  ifalias: [20, alias],
  group: [27, u32],
  netNsFd: [28, u32],
  numTxQueues: [31, u32],
  numRxQueues: [32, u32],
  linkNetnsid: [37, i32],
} as const
