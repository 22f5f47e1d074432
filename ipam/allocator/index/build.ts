/** Making an index from the address files. */

import { formatAddress } from '../../../lib/address/address.ts'
import type { AddressFiles } from '../address-files.ts'
import { sameTime } from '../address-files.ts'
import { containerKey } from '../entry.ts'
import type { ContainerKey, Holding } from './address-index.ts'
import { AddressIndex } from './address-index.ts'
import type { IndexFile } from './index-file.ts'
import { MemoryPages, StaleIndexError } from './pages.ts'
import { pageCountFor, SlotTable } from './slot-table.ts'

interface Known {
  readonly container: ContainerKey
  readonly holding: Holding
}

/**
 * Looks at every address file. Those that are still the files which the former index knew, by the time of writing, keep their
 * stamps, and they are not read again.
 *
 * @param former the index so far, in whatever state
 */
export function buildIndex(files: AddressFiles, former: IndexFile | undefined): AddressIndex {
  const known = former === undefined ? new Map<string, Known>() : whatIsKnown(former)
  const addresses = files.list()
  const pageCount = pageCountFor(addresses.length)
  const index = new AddressIndex(new SlotTable(new MemoryPages(pageCount), pageCount, 0), true)
  for (const address of addresses) {
    const before = known.get(formatAddress(address))
    // After a power failure a file may have its time and not its content.
    if (before !== undefined && former?.ofThisBoot) {
      const written = files.writtenAt(address)
      if (written !== undefined && sameTime(written, before.holding.written)) {
        index.add(before.container, before.holding)
        continue
      }
    }
    const entry = files.read(address)
    if (entry.kind === 'taken') {
      const container = containerKey(entry.owner.containerId)
      const { written } = entry
      const isSame = before?.container.join() === container.join() && sameTime(written, before.holding.written)
      index.add(container, { address, stamp: isSame ? before.holding.stamp : undefined, written })
    } else if (entry.kind === 'foreign' || entry.kind === 'absent') {
      // Listed but absent: a broken link.
      index.block(address)
    }
  }
  return index
}

/** The former index's holdings by address; nothing when it is damaged. */
function whatIsKnown({ table }: IndexFile): Map<string, Known> {
  const known = new Map<string, Known>()
  try {
    for (const entry of new AddressIndex(table, false).all()) known.set(formatAddress(entry.holding.address), entry)
    return known
  } catch (error) {
    if (error instanceof StaleIndexError) return new Map()
    throw error
  }
}
