import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { FilePages, MemoryPages, pageBytes, StaleIndexError } from '../../../ipam/allocator/index/pages.ts'
import type { Key } from '../../../ipam/allocator/index/slot-table.ts'
import { comfortableCount, pageCountFor, SlotTable, slotsPerPage } from '../../../ipam/allocator/index/slot-table.ts'
import { isUsed, markFree, markUsed, nextUnused } from '../../../ipam/allocator/index/used-addresses.ts'
import type { IpAddress } from '../../../lib/address/address.ts'
import {
  addressFromBigInt,
  addressToBigInt,
  formatAddress,
  nextAddress,
  parseAddress,
} from '../../../lib/address/address.ts'

const emptyTable = (pageCount = 1) => new SlotTable(new MemoryPages(pageCount), pageCount, 0)
const keyOf = (number: number): Key => [1, number, 0, 0, 0]
const ip = (text: string): IpAddress => {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(text)
  return address
}

t.test('SlotTable finds what was inserted and not removed, however often it grows', async t => {
  const operations = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 200 })), { maxLength: 600 })
  fc.assert(
    fc.property(operations, list => {
      const table = emptyTable()
      const model = new Map<number, number>()
      for (const [isInsert, number] of list) {
        const [slot] = table.find(keyOf(number))
        if (isInsert) {
          table.insert(keyOf(number))
          model.set(number, (model.get(number) ?? 0) + 1)
        } else if (slot !== undefined) {
          table.remove(slot)
          model.set(number, (model.get(number) ?? 0) - 1)
        }
      }
      let count = 0
      for (const [number, times] of model) {
        if (table.find(keyOf(number)).length !== times) return false
        count += times
      }
      return table.used === count && [...table.all(1)].length === count
    }),
    { numRuns: 60 },
  )
  t.pass('as the model')
})

t.test("SlotTable keeps a slot's content when it grows", async t => {
  const table = emptyTable()
  for (let number = 0; number < 1000; number++) {
    const { page, start } = table.insert(keyOf(number))
    page[start + 15] = number * 3
  }
  t.ok(table.pageCount > 8, 'it has grown')
  for (let number = 0; number < 1000; number++) {
    const [slot] = table.find(keyOf(number))
    if (slot?.page[slot.start + 15] !== number * 3) t.fail(`slot ${number}`)
  }
  t.equal(table.used, 1000)
})

t.test('more slots of one key than a page holds stand in the pages after it', async t => {
  const table = emptyTable(4)
  const count = slotsPerPage + 5
  for (let number = 0; number < count; number++) table.insert(keyOf(7))
  t.equal(table.find(keyOf(7)).length, count)
  t.equal(table.pageCount, 4)
})

t.test('pageCountFor() leaves room', async t => {
  for (const slots of [0, 1, 37, 38, 1000, 60_000]) t.ok(comfortableCount(pageCountFor(slots)) >= slots, `${slots}`)
  t.equal(pageCountFor(0), 1)
})

/** Addresses of a few blocks, so that whole blocks fill up. */
const blockAddress = fc
  .tuple(fc.constantFrom(0, 1, 2), fc.oneof(fc.constantFrom(0, 255), fc.integer({ min: 0, max: 255 })))
  .map(([block, last]) => ip(`10.0.${block}.${last}`))

t.test('nextUnused() gives the first address that is not marked', async t => {
  const prefilled = fc.array(fc.constantFrom(0, 1, 2), { maxLength: 3 })
  const toggles = fc.array(fc.tuple(fc.boolean(), blockAddress), { maxLength: 40 })
  fc.assert(
    fc.property(prefilled, toggles, blockAddress, (blocks, list, from) => {
      const table = emptyTable()
      const model = new Set<string>()
      const set = (address: IpAddress, used: boolean) => {
        if (used) markUsed(table, address)
        else markFree(table, address)
        if (used) model.add(formatAddress(address))
        else model.delete(formatAddress(address))
      }
      for (const block of blocks) for (let last = 0; last < 256; last++) set(ip(`10.0.${block}.${last}`), true)
      for (const [used, address] of list) set(address, used)
      let expected: IpAddress | undefined = from
      while (expected !== undefined && model.has(formatAddress(expected))) expected = nextAddress(expected)
      const found = nextUnused(table, from)
      return (
        found !== undefined &&
        expected !== undefined &&
        formatAddress(found) === formatAddress(expected) &&
        isUsed(table, from) === model.has(formatAddress(from))
      )
    }),
    { numRuns: 150 },
  )
  t.pass('as the model')
})

t.test('nextUnused() passes 65,536 taken addresses, and comes back into them when one is freed', async t => {
  const table = emptyTable()
  for (let number = 0n; number < 65_536n; number++) {
    const address = addressFromBigInt(0x0a000000n + number, 4)
    if (address) markUsed(table, address)
  }
  const next = (from: string) => formatAddress(nextUnused(table, ip(from)) ?? ip('0.0.0.0'))
  t.equal(next('10.0.0.0'), '10.1.0.0')
  t.equal(next('10.0.255.255'), '10.1.0.0')
  t.equal(next('9.255.255.255'), '9.255.255.255')
  t.ok(table.used < 300, 'a slot for each 256, and a few above')
  markFree(table, ip('10.0.200.7'))
  t.equal(next('10.0.0.0'), '10.0.200.7')
  t.equal(next('10.0.200.8'), '10.1.0.0')
})

t.test('nextUnused() has an answer at the ends of both families', async t => {
  for (const [last, before] of [
    ['255.255.255.255', '255.255.255.254'],
    ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe'],
  ] as const) {
    const table = emptyTable()
    markUsed(table, ip(last))
    t.equal(nextUnused(table, ip(last)), undefined)
    t.equal(formatAddress(nextUnused(table, ip(before)) ?? ip('::')), before)
    for (let number = 0n; number < 256n; number++) {
      const address = addressFromBigInt(addressToBigInt(ip(last)) - number, last.includes(':') ? 6 : 4)
      if (address) markUsed(table, address)
    }
    t.equal(nextUnused(table, ip(before)), undefined, 'a full block at the end')
  }
})

t.test('freeing everything leaves no slot behind', async t => {
  fc.assert(
    fc.property(fc.uniqueArray(blockAddress, { selector: formatAddress, maxLength: 60 }), addresses => {
      const table = emptyTable()
      for (const address of addresses) markUsed(table, address)
      for (const address of addresses) markFree(table, address)
      return table.used === 0
    }),
    { numRuns: 50 },
  )
  t.pass('empty')
})

t.test('a page that was not written whole is noticed, whichever byte is wrong', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'cnikit-pages-'))
  const fd = openSync(join(directory, 'pages'), 'w+')
  t.teardown(() => {
    closeSync(fd)
    rmSync(directory, { recursive: true })
  })
  const table = emptyTable(2)
  table.insert(keyOf(1))
  table.pages.write(fd)
  t.equal(new SlotTable(new FilePages(fd), 2, 1).find(keyOf(1)).length, 1)
  const damage = fc.tuple(fc.integer({ min: 0, max: pageBytes - 1 }), fc.integer({ min: 1, max: 255 }))
  fc.assert(
    fc.property(damage, ([offset, mask]) => {
      table.pages.write(fd)
      const page = new Uint8Array(table.pages.page(1).slice().buffer)
      page[offset] = (page[offset] ?? 0) ^ mask
      writeSync(fd, page, 0, pageBytes, pageBytes)
      try {
        new FilePages(fd).page(1)
        return false
      } catch (error) {
        return error instanceof StaleIndexError
      }
    }),
  )
  table.pages.write(fd)
  ftruncateSync(fd, pageBytes * 2 - 1)
  t.throws(() => new FilePages(fd).page(1), StaleIndexError)
})
