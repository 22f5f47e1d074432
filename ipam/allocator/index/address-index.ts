/** Who holds which address since when, and which addresses are taken, without reading the address files. */

import type { IpAddress } from '../../../lib/address/address.ts'
import { allocate } from '../../../lib/sys/bytes.ts'
import type { WriteTime } from '../address-files.ts'
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
    const words = addressWords(address)
    return this.table
      .find(keyOf(container))
      .find(({ page, start }) => words.every((value, index) => page[start + word.address + index] === value))
  }

  #encode({ page, start }: Slot, { address, stamp, written }: Holding): void {
    page.set(addressWords(address), start + word.address)
    page.set(stamp?.boot ?? [0, 0], start + word.boot)
    const namespace = stamp?.namespace ?? 0n
    page[start + word.namespace] = Number(namespace & 0xffffffffn)
    page[start + word.namespace + 1] = Number(namespace >> 32n)
    page[start + word.form] = address.length | (stamp === undefined ? 0 : STAMPED)
    page[start + word.seconds] = written.seconds
    page[start + word.nanoseconds] = written.nanoseconds
  }
}

function keyOf([a, b, c, d]: ContainerKey): Key {
  return [HOLDING_KIND, a, b, c, d]
}

function addressWords(address: IpAddress): number[] {
  const bytes = allocate(16)
  bytes.set(address)
  return [...new Uint32Array(bytes.buffer)]
}

function decodeHolding({ page, start }: Slot): Holding {
  const at = (index: number) => page[start + index] ?? 0
  const address = allocate(at(word.form) & 0xff)
  address.set(new Uint8Array(page.buffer, page.byteOffset + (start + word.address) * 4, address.length))
  const boot: BootId = [at(word.boot), at(word.boot + 1)]
  const namespace = BigInt(at(word.namespace)) | (BigInt(at(word.namespace + 1)) << 32n)
  return {
    address,
    stamp: (at(word.form) & STAMPED) === 0 ? undefined : { boot, namespace },
    written: { seconds: at(word.seconds), nanoseconds: at(word.nanoseconds) },
  }
}
