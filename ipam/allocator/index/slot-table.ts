/**
 * A hash table of 64-byte slots in pages: any slot is found by reading one page, or a few where pages overflow.
 *
 * Page: 16 words of head (checksum, overflow mark, a word with a bit for each slot that is taken), then 15 slots of 16
 * words. A slot's word 0 holds bits of the key's hash and the kind, words 1 to 4 are the rest of its key, and what follows is
 * its content. A key's home is the page that its hash names; when that is full, the slot stands in one of the
 * following pages, and the pages passed over carry the overflow mark.
 */

import type { Page, Pages } from './pages.ts'
import { MemoryPages, StaleIndexError, wordsPerPage } from './pages.ts'

export const wordsPerSlot = 16
export const slotsPerPage = wordsPerPage / wordsPerSlot - 1
/** Words of a page's head. */
const OVERFLOW = 1
const TAKEN = 2

const KIND_MASK = 0xff

/** Kind (1 to 255) and four words. */
export type Key = readonly [kind: number, a: number, b: number, c: number, d: number]

/** A slot where it stands. Its words are read and, after `change`, written through `page`. */
export interface Slot {
  readonly page: Page
  readonly pageNumber: number
  /** Index of the slot's word 0. */
  readonly start: number
}

/** Slots that a table of so many pages takes before it is to grow; fuller pages overflow too often. */
export function comfortableCount(pageCount: number): number {
  return Math.floor(pageCount * slotsPerPage * 0.6)
}

/** Page count (a power of two) for so many slots. */
export function pageCountFor(slots: number): number {
  let count = 1
  while (comfortableCount(count) < slots) count *= 2
  return count
}

export class SlotTable {
  #pages: Pages
  #pageCount: number
  #used: number

  /** @param used how many slots are taken */
  constructor(pages: Pages, pageCount: number, used: number) {
    this.#pages = pages
    this.#pageCount = pageCount
    this.#used = used
  }

  get pages(): Pages {
    return this.#pages
  }

  get pageCount(): number {
    return this.#pageCount
  }

  get used(): number {
    return this.#used
  }

  /** The slots of a key, as many as were inserted. */
  find(key: Key): Slot[] {
    const found: Slot[] = []
    const hash = hashOf(key)
    const first = firstWord(key, hash)
    for (let step = 0; step < this.#pageCount; step++) {
      const pageNumber = this.#pageAt(hash, step)
      const page = this.#pages.page(pageNumber)
      // The search for one word is the runtime's own and costs next to nothing.
      for (let at = page.indexOf(first, wordsPerSlot); at >= 0; at = page.indexOf(first, at + 1))
        if (at % wordsPerSlot === 0 && holdsKey(page, at, key)) found.push({ page, pageNumber, start: at })
      if (page[OVERFLOW] === 0) break
    }
    return found
  }

  /** A new slot with the key and a content of zeros, beside those that have the key already. */
  insert(key: Key): Slot {
    if (this.#used >= comfortableCount(this.#pageCount)) this.#grow()
    const hash = hashOf(key)
    const slot = this.#takeFree(hash)
    const { page, start } = slot
    const [, a, b, c, d] = key
    page[start] = firstWord(key, hash)
    page[start + 1] = a
    page[start + 2] = b
    page[start + 3] = c
    page[start + 4] = d
    this.#used++
    return slot
  }

  remove(slot: Slot): void {
    this.change(slot)
    slot.page.fill(0, slot.start, slot.start + wordsPerSlot)
    slot.page[TAKEN] = (slot.page[TAKEN] ?? 0) & ~slotBit(slot.start)
    this.#used--
  }

  /** To be called before a slot's content is changed. */
  change(slot: Slot): void {
    this.#pages.touch(slot.pageNumber)
  }

  /** All slots of a kind; the table must not be changed meanwhile. */
  *all(kind: number): Generator<Slot> {
    for (let pageNumber = 1; pageNumber <= this.#pageCount; pageNumber++) {
      const page = this.#pages.page(pageNumber)
      for (let start = wordsPerSlot; start < wordsPerPage; start += wordsPerSlot)
        if (((page[start] ?? 0) & KIND_MASK) === kind) yield { page, pageNumber, start }
    }
  }

  #takeFree(hash: number): Slot {
    for (let step = 0; step < this.#pageCount; step++) {
      const pageNumber = this.#pageAt(hash, step)
      const page = this.#pages.page(pageNumber)
      this.#pages.touch(pageNumber)
      const free = ~(page[TAKEN] ?? 0) & allSlots
      if (free !== 0) {
        // The lowest free one: its bit stands as many places from the right as 31 minus its leading zeros.
        const start = (31 - Math.clz32(free & -free)) * wordsPerSlot
        page[TAKEN] = (page[TAKEN] ?? 0) | slotBit(start)
        return { page, pageNumber, start }
      }
      page[OVERFLOW] = 1
    }
    throw new StaleIndexError('its count of slots is wrong')
  }

  #grow(): void {
    const pageCount = this.#pageCount * 2
    const larger = new SlotTable(new MemoryPages(pageCount), pageCount, 0)
    for (let pageNumber = 1; pageNumber <= this.#pageCount; pageNumber++) {
      const page = this.#pages.page(pageNumber)
      for (let start = wordsPerSlot; start < wordsPerPage; start += wordsPerSlot) {
        const [first = 0, a = 0, b = 0, c = 0, d = 0] = page.subarray(start, start + 5)
        if (first === 0) continue
        const slot = larger.insert([first & KIND_MASK, a, b, c, d])
        slot.page.set(page.subarray(start, start + wordsPerSlot), slot.start)
      }
    }
    this.#pages = larger.#pages
    this.#pageCount = pageCount
    this.#used = larger.#used
  }

  #pageAt(hash: number, step: number): number {
    return ((hash + step) & (this.#pageCount - 1)) + 1
  }
}

/** Bit of a slot among those of its page; bit 0 stands for the head. */
function slotBit(start: number): number {
  return 1 << (start / wordsPerSlot)
}

const allSlots = ((1 << slotsPerPage) - 1) << 1

function hashOf([kind, a, b, c, d]: Key): number {
  return mix(mix(mix(mix(kind, a), b), c), d)
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x85ebca6b)
  return mixed ^ (mixed >>> 15)
}

/** The kind with bits of the hash, so that the word is rarely found for another key. */
function firstWord([kind]: Key, hash: number): number {
  return ((Math.imul(hash, 0x9e3779b1) & ~KIND_MASK) | kind) >>> 0
}

function holdsKey(page: Page, start: number, [, a, b, c, d]: Key): boolean {
  return page[start + 1] === a && page[start + 2] === b && page[start + 3] === c && page[start + 4] === d
}
