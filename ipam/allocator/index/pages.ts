/**
 * Fixed-size pages of a file with a checksum each, read when touched and written when changed. Words have the byte
 * order of the processor: a file from another one has a magic number that nobody knows.
 */

import { allocate } from '../../../lib/sys/bytes.ts'
import { readAt, writeAt } from '../../../lib/sys/file.ts'

/** Small, because checksums are computed by code that runs too short to be compiled. */
export const pageBytes = 1024
export const wordsPerPage = pageBytes / 4

/** A page as 32-bit words; word 0 holds the checksum of the others. */
export type Page = Uint32Array<ArrayBuffer>

/** The index does not say what the address files say, or cannot be read: it has to be built again from them. */
export class StaleIndexError extends Error {
  constructor(reason: string) {
    super(`the address index is stale: ${reason}`)
    this.name = 'StaleIndexError'
  }
}

/** Mixes the words from 1 on with a seed: one changed bit always changes the sum. */
export function checksum(words: Page, seed: number): number {
  let sum = seed ^ 0x9e3779b9
  for (let index = 1; index < words.length; index++) {
    sum = Math.imul(sum ^ (words[index] ?? 0), 0x85ebca6b)
    sum ^= sum >>> 13
  }
  return sum >>> 0
}

/** Where pages come from and go to: an index file, or memory until it is written as a whole. */
export interface Pages {
  /** @throws StaleIndexError when the page was not written whole */
  page(number: number): Page
  /** To be called before a page is changed. */
  touch(number: number): void
  /** Writes the changed pages. @throws SysError */
  write(fd: number): void
}

/** Pages of an open file. Page 0 is the header's, which is not kept here. */
export class FilePages implements Pages {
  readonly #fd: number
  readonly #pages = new Map<number, Page>()
  readonly #changed = new Set<number>()

  constructor(fd: number) {
    this.#fd = fd
  }

  page(number: number): Page {
    const known = this.#pages.get(number)
    if (known !== undefined) return known
    const bytes = allocate(pageBytes)
    const length = readAt(this.#fd, bytes, number * pageBytes)
    const page = new Uint32Array(bytes.buffer)
    if (length !== pageBytes || page[0] !== checksum(page, number))
      throw new StaleIndexError(`page ${number} is damaged`)
    this.#pages.set(number, page)
    return page
  }

  touch(number: number): void {
    this.#changed.add(number)
  }

  write(fd: number): void {
    for (const number of this.#changed) {
      const page = this.page(number)
      page[0] = checksum(page, number)
      writeAt(fd, new Uint8Array(page.buffer), number * pageBytes)
    }
    this.#changed.clear()
  }
}

/** Empty pages in memory, numbered from 1 like those of a file, written all at once. */
export class MemoryPages implements Pages {
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #pages: (Page | undefined)[] = []
  readonly #count: number

  constructor(count: number) {
    this.#count = count
    this.#bytes = allocate((count + 1) * pageBytes)
  }

  page(number: number): Page {
    this.#pages[number] ??= new Uint32Array(this.#bytes.buffer, number * pageBytes, wordsPerPage)
    return this.#pages[number]
  }

  touch(): void {}

  write(fd: number): void {
    for (let number = 1; number <= this.#count; number++) {
      const page = this.page(number)
      page[0] = checksum(page, number)
    }
    writeAt(fd, this.#bytes, 0)
  }
}
