/** Messages about qdiscs of any kind. @see linux/rtnetlink.h, TCA_* */

import { attributeTable, string, variant } from '../../codec.ts'
import { trafficControlHeader } from './header.ts'
import { tbfAttributes } from './kinds/tbf.ts'

export const qdiscFormat = {
  header: trafficControlHeader,
  attributes: attributeTable('TCA', {
    kind: [1, string],
    options: [2, variant('kind', () => ({ tbf: tbfAttributes }))],
  }),
}
