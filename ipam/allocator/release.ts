/** DEL and GC: giving addresses back. Both work from the directory alone; no range has to be known. */

import { CniError } from '../../lib/cni/errors.ts'
import { toCniError } from '../../lib/cni/failure.ts'
import type { AttachmentId } from '../../lib/cni/types.ts'
import { SysError } from '../../lib/sys/errno.ts'
import { statusOf } from '../../lib/sys/file.ts'
import type { Owner } from './entry.ts'
import { containerKey, encodeOwner } from './entry.ts'
import { deadHoldings } from './reclaim.ts'
import type { AllocationState, StateOptions } from './state.ts'
import { withState } from './state.ts'

/**
 * Gives back what an attachment holds; that may be nothing. Files without an interface's name, of old versions of the Go
 * plugin, are given back only when there is none with it, as the Go plugin does.
 *
 * @throws CniError that names every address that could not be given back, after the others were
 * @throws LockTimeoutError, SysError
 */
export function release(directory: string, { containerId, ifname }: AttachmentId, options?: StateOptions): void {
  if (statusOf(directory) === undefined) return
  const giveBack = (state: AllocationState) => {
    const held = state.heldBy(containerId, ifname)
    const exact = held.filter(({ owner }) => owner.ifname !== undefined)
    forEach(exact.length > 0 ? exact : held, ({ address }) => state.release(containerKey(containerId), address))
  }
  withState(directory, 'change', giveBack, options)
}

/**
 * Gives back what no valid attachment holds. Without a list of those, only what nobody can use any more: holdings of an
 * earlier boot, or of a namespace that is gone.
 *
 * @throws CniError that names every address that could not be given back, after the others were
 * @throws LockTimeoutError, SysError
 */
export function collectGarbage(
  directory: string,
  valid: readonly AttachmentId[] | undefined,
  options?: StateOptions,
): void {
  if (statusOf(directory) === undefined) return
  const collect = (state: AllocationState) => {
    if (valid === undefined) {
      forEach(deadHoldings(state), ({ container, address }) => state.release(container, address))
      return
    }
    const contents = new Set(valid.map(({ containerId, ifname }) => encodeOwner(containerId, ifname)))
    const containers = new Set(valid.map(({ containerId }) => containerId))
    const isValid = ({ containerId, ifname }: Owner) =>
      ifname === undefined ? containers.has(containerId) : contents.has(encodeOwner(containerId, ifname))
    forEach(state.files.list(), address => {
      const entry = state.files.read(address)
      if (entry.kind === 'torn' && state.coolDownLeft(address) === 0) state.files.remove(address)
      if (entry.kind === 'taken' && !isValid(entry.owner)) state.release(containerKey(entry.owner.containerId), address)
    })
  }
  withState(directory, 'change', collect, options)
}

/** Does what can be done, and reports at the end what could not. */
function forEach<T>(items: readonly T[], free: (item: T) => void): void {
  const failures: CniError[] = []
  for (const item of items) {
    try {
      free(item)
    } catch (error) {
      if (!(error instanceof SysError)) throw error
      failures.push(toCniError(error))
    }
  }
  const [first] = failures
  if (first === undefined) return
  const reasons = failures.map(({ message }) => message).join('; ')
  throw new CniError(first.code, `cannot give back ${failures.length} of the addresses: ${reasons}`, first.details)
}
