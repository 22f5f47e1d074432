/** Ranges as the configurations of host-local and cluster write them. */

import type { RangeOptions } from './allocator/range.ts'
import { readAddress, readPrefix } from './values.ts'

export interface RangeDocument {
  subnet: string
  rangeStart?: string
  rangeEnd?: string
  gateway?: string
}

/** @param path of the key, for the error @throws CniError 7 */
export function readRangeSets(path: string, sets: readonly (readonly RangeDocument[])[]): RangeOptions[][] {
  return sets.map((set, index) => set.map((range, position) => readRange(range, `${path}[${index}][${position}]`)))
}

/** @param path of the key, for the error @throws CniError 7 */
export function readRange({ subnet, rangeStart, rangeEnd, gateway }: RangeDocument, path: string): RangeOptions {
  return {
    subnet: readPrefix(subnet, `${path}.subnet`),
    rangeStart: readAddress(rangeStart, `${path}.rangeStart`),
    rangeEnd: readAddress(rangeEnd, `${path}.rangeEnd`),
    gateway: readAddress(gateway, `${path}.gateway`),
  }
}
