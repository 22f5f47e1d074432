/** DEL and GC: giving addresses back. Both work from the directory alone; no range has to be known. */

import { CniError } from '../../lib/cni/errors.ts'
import { toCniError } from '../../lib/cni/failure.ts'
import type { AttachmentId } from '../../lib/cni/types.ts'
import { SysError } from '../../lib/sys/errno.ts'
import { statusOf } from '../../lib/sys/file.ts'
import { containerKey, encodeOwner } from './entry.ts'
import { deadHoldings } from './reclaim.ts'
import type { AllocationState } from './state.ts'
import { withState } from './state.ts'

/**
 * Gives back what an attachment holds; that may be nothing. Files without an interface's name, of old versions of the Go
 * plugin, are given back only when there is none with it, as the Go plugin does.
 *
 * @throws LockTimeoutError, SysError
 */
export function release(directory: string, { containerId, ifname }: AttachmentId): void {
  if (statusOf(directory) === undefined) return
  withState(directory, 'change', state => {
    const held = state.heldBy(containerId, ifname)
    const exact = held.filter(({ owner }) => owner.ifname !== undefined)
    for (const { address } of exact.length > 0 ? exact : held) state.release(containerKey(containerId), address)
  })
}

/**
 * Gives back what no valid attachment holds. Without a list of those, only what nobody can use any more: holdings of an
 * earlier boot, or of a namespace that is gone.
 *
 * @throws CniError that names every address that could not be given back, after the others were
 */
export function collectGarbage(directory: string, valid: readonly AttachmentId[] | undefined): void {
  if (statusOf(directory) === undefined) return
  withState(directory, 'change', state => {
    const failures: CniError[] = []
    const attempt = (free: () => void) => {
      try {
        free()
      } catch (error) {
        if (!(error instanceof SysError)) throw error
        failures.push(toCniError(error))
      }
    }
    if (valid === undefined) {
      for (const { container, address } of deadHoldings(state)) attempt(() => state.release(container, address))
    } else {
      removeInvalid(state, valid, attempt)
    }
    const [first] = failures
    if (first === undefined) return
    throw new CniError(
      first.code,
      `${failures.length} of the addresses could not be given back: ${failures.map(({ message }) => message).join('; ')}`,
      first.details,
    )
  })
}

function removeInvalid(
  state: AllocationState,
  valid: readonly AttachmentId[],
  attempt: (free: () => void) => void,
): void {
  const contents = new Set(valid.map(({ containerId, ifname }) => encodeOwner(containerId, ifname)))
  const containers = new Set(valid.map(({ containerId }) => containerId))
  for (const address of state.files.list()) {
    attempt(() => {
      const entry = state.files.read(address)
      if (entry.kind === 'torn') state.files.remove(address)
      if (entry.kind !== 'taken') return
      const { containerId, ifname } = entry.owner
      const isValid =
        ifname === undefined ? containers.has(containerId) : contents.has(encodeOwner(containerId, ifname))
      if (!isValid) state.release(containerKey(containerId), address)
    })
  }
}
