/** Giving back addresses that nobody uses any more: of an earlier boot, or of a namespace that is gone. */

import type { IpAddress } from '../../lib/address/address.ts'
import { equalAddresses } from '../../lib/address/address.ts'
import { livingNamespaces } from '../../lib/netns/liveness.ts'
import { sameTime } from './address-files.ts'
import { containerKey } from './entry.ts'
import type { ContainerKey } from './index/address-index.ts'
import type { Stamp } from './index/stamp.ts'
import { sameBoot } from './index/stamp.ts'
import type { AllocationState } from './state.ts'

/** An address without a user. */
export interface DeadHolding {
  readonly container: ContainerKey
  readonly address: IpAddress
}

/** Tells whether what a stamp speaks of is gone. The namespaces of the host are looked for once, when first needed. */
export function deathJudge(state: AllocationState): (stamp: Stamp | undefined) => boolean {
  let living: ReadonlySet<bigint> | undefined
  let looked = false
  return stamp => {
    if (stamp === undefined || state.boot === undefined) return false
    if (!sameBoot(stamp.boot, state.boot)) return true
    if (!looked) living = livingNamespaces()
    looked = true
    return living !== undefined && !living.has(stamp.namespace)
  }
}

/** Holdings (or the one of an address) whose stamp says that nobody can use them, confirmed by their files. */
export function deadHoldings(state: AllocationState, only?: IpAddress): DeadHolding[] {
  const isDead = deathJudge(state)
  const dead: DeadHolding[] = []
  for (const { container, holding } of state.index.all()) {
    if (only !== undefined && !equalAddresses(holding.address, only)) continue
    if (!isDead(holding.stamp)) continue
    const entry = state.files.read(holding.address)
    if (entry.kind !== 'taken') continue
    // The stamp is about this very file and not about a later one of the same name.
    if (sameTime(entry.written, holding.written) && containerKey(entry.owner.containerId).join() === container.join())
      dead.push({ container, address: holding.address })
  }
  return dead
}

/**
 * Gives back the dead holdings, or the one of an address, of other containers than the one that asks: what it holds itself
 * lives again now, whatever the stamp says.
 *
 * @returns how many
 */
export function reclaim(state: AllocationState, asker: ContainerKey, only?: IpAddress): number {
  const dead = deadHoldings(state, only).filter(({ container }) => container.join() !== asker.join())
  for (const { container, address } of dead) state.release(container, address)
  return dead.length
}
