/** Making an index from the address files. */

import type { AddressFiles } from '../address-files.ts'
import { containerKey } from '../entry.ts'
import type { ContainerKey, Holding } from './address-index.ts'
import { AddressIndex } from './address-index.ts'
import { MemoryPages, StaleIndexError } from './pages.ts'
import { pageCountFor, SlotTable } from './slot-table.ts'

/**
 * Reads every address file once.
 * @param previous the index so far, for the stamps of the files that are still those it knows
 */
export function buildIndex(files: AddressFiles, previous: AddressIndex | undefined): AddressIndex {
  const addresses = files.list()
  const pageCount = pageCountFor(addresses.length)
  const index = new AddressIndex(new SlotTable(new MemoryPages(pageCount), pageCount, 0), true)
  for (const address of addresses) {
    const entry = files.read(address)
    if (entry.kind === 'taken') {
      const key = containerKey(entry.owner.containerId)
      const holding = { address, stamp: undefined, written: entry.written }
      index.add(key, { ...holding, stamp: stampBefore(previous, key, holding) })
    } else if (entry.kind === 'foreign' || entry.kind === 'absent') {
      // Listed but absent: a broken link.
      index.block(address)
    }
  }
  return index
}

function stampBefore(previous: AddressIndex | undefined, key: ContainerKey, now: Holding): Holding['stamp'] {
  try {
    return previous
      ?.holdingsOf(key)
      .find(
        ({ address, written }) =>
          address.join() === now.address.join() &&
          written.seconds === now.written.seconds &&
          written.nanoseconds === now.written.nanoseconds,
      )?.stamp
  } catch (error) {
    if (error instanceof StaleIndexError) return undefined
    throw error
  }
}
