/** Messages about filters of any kind. @see linux/rtnetlink.h, TCA_* */

import { attributeTable, string, u32, variant } from '../../codec.ts'
import { trafficControlHeader } from '../qdisc/header.ts'
import { u32Attributes } from './u32.ts'

export const filterFormat = {
  header: trafficControlHeader,
  attributes: attributeTable('TCA', {
    kind: [1, string],
    options: [2, variant('kind', () => ({ u32: u32Attributes }))],
    chain: [11, u32],
  }),
}
