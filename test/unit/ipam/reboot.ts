/** A network's directory as it is found after the host was started anew. */

import { containerKey } from '../../../ipam/allocator/entry.ts'
import { saveIndexFile } from '../../../ipam/allocator/index/index-file.ts'
import { AllocationState } from '../../../ipam/allocator/state.ts'
import type { NetworkDirectory } from './fixture.ts'

const earlierBoot = [1, 2] as const

/** Makes the stamps of some containers, and the index itself, ones of an earlier boot. */
export function asAfterReboot(net: NetworkDirectory, containerIds: readonly string[]): void {
  const state = new AllocationState(net.path)
  state.rebuild()
  for (const id of containerIds) {
    const key = containerKey(id)
    for (const holding of state.index.holdingsOf(key))
      state.index.update(key, { ...holding, stamp: { boot: earlierBoot, namespace: 1n } })
  }
  saveIndexFile(net.path, undefined, state.index.table, earlierBoot)
  state.close()
}
