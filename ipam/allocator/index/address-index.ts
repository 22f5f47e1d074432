/** Who holds which address since when, and which addresses are taken, without reading the address files. */

import type { IpAddress } from '../../../lib/address/address.ts'
import type { WriteTime } from '../address-files.ts'
import { addressOfWords, addressWords } from './address-words.ts'
import type { Page } from './pages.ts'
import type { Key, Slot, SlotTable } from './slot-table.ts'
import type { BootId, Stamp } from './stamp.ts'
import { isUsed, markFree, markUsed, nextUnused } from './used-addresses.ts'

/**
 * A holding's slot: kind; the container's key; the address; then the stamp's boot (2 words) and namespace (2 words), the
 * address's length with the mark of a stamp, and when the address file was written (2 words).
 */
const HOLDING_KIND = 1
const STAMPED = 0x100
const word = { address: 5, boot: 9, namespace: 11, form: 13, seconds: 14, nanoseconds: 15 } as const

/** What `containerKey` makes of a container id. */
export type ContainerKey = readonly [number, number, number, number]

export interface Holding {
  readonly address: IpAddress
  /** Undefined when the address was handed out by somebody else, who says nothing of the namespace. */
  readonly stamp: Stamp | undefined
  /** Of the address file that the stamp belongs to. */
  readonly written: WriteTime
}

export class AddressIndex {
  readonly table: SlotTable
  /** Whether there is something to save. */
  changed: boolean

  constructor(table: SlotTable, changed: boolean) {
    this.table = table
    this.changed = changed
  }

  /** What a container holds, through any of its interfaces. */
  holdingsOf(container: ContainerKey): Holding[] {
    return this.table.find(keyOf(container)).map(decodeHolding)
  }

  /** All holdings with their containers' keys. */
  *all(): Generator<{ container: ContainerKey; holding: Holding }> {
    for (const slot of this.table.all(HOLDING_KIND)) {
      const { page, start } = slot
      const container = [
        page[start + 1] ?? 0,
        page[start + 2] ?? 0,
        page[start + 3] ?? 0,
        page[start + 4] ?? 0,
      ] as const
      yield { container, holding: decodeHolding(slot) }
    }
  }

  /** Notes an address as held; it must not be held yet. */
  add(container: ContainerKey, holding: Holding): void {
    this.changed = true
    markUsed(this.table, holding.address)
    this.#encode(this.table.insert(keyOf(container)), holding)
  }

  /** Notes another stamp. */
  update(container: ContainerKey, holding: Holding): void {
    const slot = this.#slotOf(container, holding.address)
    if (slot === undefined) return
    this.changed = true
    this.table.change(slot)
    this.#encode(slot, holding)
  }

  /** Notes an address as free. */
  remove(container: ContainerKey, address: IpAddress): void {
    this.changed = true
    const slot = this.#slotOf(container, address)
    if (slot !== undefined) this.table.remove(slot)
    markFree(this.table, address)
  }

  /** Notes an address as taken by nobody known. */
  block(address: IpAddress): void {
    this.changed = true
    markUsed(this.table, address)
  }

  isUsed(address: IpAddress): boolean {
    return isUsed(this.table, address)
  }

  /** The first address from the given one on that is not taken. */
  nextUnused(from: IpAddress): IpAddress | undefined {
    return nextUnused(this.table, from)
  }

  #slotOf(container: ContainerKey, address: IpAddress): Slot | undefined {
    const words = addressWords(address, address.length)
    return this.table
      .find(keyOf(container))
      .find(({ page, start }) => words.every((value, index) => page[start + word.address + index] === value))
  }

  #encode({ page, start }: Slot, { address, stamp, written }: Holding): void {
    const [a, b, c, d] = addressWords(address, address.length)
    page[start + word.address] = a
    page[start + word.address + 1] = b
    page[start + word.address + 2] = c
    page[start + word.address + 3] = d
    page[start + word.boot] = stamp?.boot[0] ?? 0
    page[start + word.boot + 1] = stamp?.boot[1] ?? 0
    page[start + word.namespace] = stamp === undefined ? 0 : Number(stamp.namespace & 0xffffffffn)
    page[start + word.namespace + 1] = stamp === undefined ? 0 : Number(stamp.namespace >> 32n)
    page[start + word.form] = address.length | (stamp === undefined ? 0 : STAMPED)
    page[start + word.seconds] = written.seconds
    page[start + word.nanoseconds] = written.nanoseconds
  }
}

function keyOf([a, b, c, d]: ContainerKey): Key {
  return [HOLDING_KIND, a, b, c, d]
}

function decodeHolding({ page, start }: Slot): Holding {
  const at = (index: number) => page[start + index] ?? 0
  const words = [at(word.address), at(word.address + 1), at(word.address + 2), at(word.address + 3)] as const
  const form = at(word.form)
  return {
    address: addressOfWords(words, form & 0xff),
    stamp: (form & STAMPED) === 0 ? undefined : { boot: bootAt(page, start), namespace: namespaceAt(page, start) },
    written: { seconds: at(word.seconds), nanoseconds: at(word.nanoseconds) },
  }
}

function bootAt(page: Page, start: number): BootId {
  return [page[start + word.boot] ?? 0, page[start + word.boot + 1] ?? 0]
}

function namespaceAt(page: Page, start: number): bigint {
  return BigInt(page[start + word.namespace] ?? 0) | (BigInt(page[start + word.namespace + 1] ?? 0) << 32n)
}
