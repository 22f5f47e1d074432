/**
 * Which addresses are taken, as bitmaps in slots: one for each 256 addresses with a taken one among them (level 0: the
 * address without its last byte), and above them one for each 256 bitmaps with a full one among them (level 1: without its last
 * two bytes), and so on. The next free address is found past any number of taken ones by looking at a few slots.
 */

import type { IpAddress } from '../../../lib/address/address.ts'
import { allocate } from '../../../lib/sys/bytes.ts'
import { addressWords } from './address-words.ts'
import type { Key, Slot, SlotTable } from './slot-table.ts'

/** Kinds of slots from here on, one for each level and family. */
const firstBitmapKind = 2
/** Words of a slot that hold the 256 bits. */
const bitmapStart = 5
const bitmapWords = 8

export function isUsed(table: SlotTable, address: IpAddress): boolean {
  const slot = bitmapOf(table, address, 0)
  return slot !== undefined && bit(slot, lastByte(address, 0))
}

export function markUsed(table: SlotTable, address: IpAddress): void {
  for (let level = 0; level < address.length; level++) {
    const slot = bitmapOf(table, address, level) ?? table.insert(bitmapKey(address, level))
    const number = lastByte(address, level)
    if (bit(slot, number)) return
    setBit(table, slot, number, true)
    // Full: the level above learns of it.
    if (nextZero(slot, 0) !== undefined) return
  }
}

export function markFree(table: SlotTable, address: IpAddress): void {
  for (let level = 0; level < address.length; level++) {
    const slot = bitmapOf(table, address, level)
    const number = lastByte(address, level)
    if (slot === undefined || !bit(slot, number)) return
    const wasFull = nextZero(slot, 0) === undefined
    setBit(table, slot, number, false)
    if (isEmpty(slot)) table.remove(slot)
    if (!wasFull) return
  }
}

/** The first address from the given one on that is not taken; undefined when the family has no more. */
export function nextUnused(table: SlotTable, from: IpAddress): IpAddress | undefined {
  const address = allocate(from.length)
  address.set(from)
  for (let level = 0; ; ) {
    const position = address.length - 1 - level
    const slot = bitmapOf(table, address, level)
    const number = slot === undefined ? lastByte(address, level) : nextZero(slot, lastByte(address, level))
    if (number !== undefined) {
      if (number !== address[position]) startAt(address, position, number)
      if (level === 0) return address
      level--
      continue
    }
    // Nothing is left below this level: go on with the next bitmap above, past those that end here too.
    do level++
    while (level < address.length && lastByte(address, level) === 255)
    if (level === address.length) return undefined
    startAt(address, address.length - 1 - level, lastByte(address, level) + 1)
  }
}

/** Sets a byte and clears those after it. */
function startAt(address: IpAddress, position: number, value: number): void {
  address.fill(0, position)
  address[position] = value
}

/** The byte that a level's bitmap is about. */
function lastByte(address: IpAddress, level: number): number {
  return address[address.length - 1 - level] ?? 0
}

function bitmapKey(address: IpAddress, level: number): Key {
  const [a, b, c, d] = addressWords(address, address.length - 1 - level)
  return [firstBitmapKind + level * 2 + (address.length === 4 ? 0 : 1), a, b, c, d]
}

function bitmapOf(table: SlotTable, address: IpAddress, level: number): Slot | undefined {
  return table.find(bitmapKey(address, level))[0]
}

function bit({ page, start }: Slot, number: number): boolean {
  return (((page[start + bitmapStart + (number >> 5)] ?? 0) >>> (number & 31)) & 1) === 1
}

function setBit(table: SlotTable, slot: Slot, number: number, value: boolean): void {
  table.change(slot)
  const index = slot.start + bitmapStart + (number >> 5)
  const mask = 1 << (number & 31)
  const word = slot.page[index] ?? 0
  slot.page[index] = value ? word | mask : word & ~mask
}

/** The first clear bit from the given one on. */
function nextZero({ page, start }: Slot, from: number): number | undefined {
  for (let index = from >> 5; index < bitmapWords; index++) {
    // Bits before `from` count as set.
    const ignored = index === from >> 5 ? (1 << (from & 31)) - 1 : 0
    const free = ~((page[start + bitmapStart + index] ?? 0) | ignored)
    // The lowest set bit stands as many places from the right as 31 minus its leading zeros.
    if (free !== 0) return index * 32 + 31 - Math.clz32(free & -free)
  }
  return undefined
}

function isEmpty({ page, start }: Slot): boolean {
  return page.subarray(start + bitmapStart, start + bitmapStart + bitmapWords).every(word => word === 0)
}
