/** u32 classifiers: packets are matched by words at offsets. @see linux/pkt_cls.h, TCA_U32_* */

import { attributeTable, type Codec, list, nested, u32 } from '../../codec.ts'
import { actionAttributes } from './action.ts'

/** A 32-bit word of the packet; value and mask as the packet has them, in network order. */
export interface U32Key {
  readonly mask: number
  readonly value: number
  /** From the start of the IP header. */
  readonly offset: number
  readonly offsetMask: number
}

/** struct tc_u32_sel */
export interface U32Selector {
  /** Bits of TC_U32_*: 1 is TC_U32_TERMINAL, the actions are carried out on a match. */
  readonly flags: number
  readonly keys: readonly U32Key[]
}

/** What a selector has before its keys, beyond flags and their number: offsets to further headers. */
const OFFSETS_BYTES = 13

const selector: Codec<U32Selector> = {
  encode(writer, { flags, keys }) {
    writer.u8(flags)
    writer.u8(0)
    writer.u8(keys.length)
    writer.zeros(OFFSETS_BYTES)
    for (const key of keys) {
      writer.u32be(key.mask)
      writer.u32be(key.value)
      writer.u32(key.offset)
      writer.u32(key.offsetMask)
    }
  },
  decode(reader) {
    const flags = reader.u8()
    reader.skip(1)
    const count = reader.u8()
    reader.skip(OFFSETS_BYTES)
    const keys: U32Key[] = []
    while (keys.length < count) {
      keys.push({ mask: reader.u32be(), value: reader.u32be(), offset: reader.i32(), offsetMask: reader.i32() })
    }
    return { flags, keys }
  },
}

export const u32Attributes = attributeTable('TCA_U32', {
  classid: [1, u32],
  sel: [5, selector],
  act: [7, list(1, nested(actionAttributes))],
})
