/** A network's addresses under the lock: the files, which are the truth, and the index over them. */

import type { IpAddress } from '../../lib/address/address.ts'
import { CniError } from '../../lib/cni/errors.ts'
import { SysError } from '../../lib/sys/errno.ts'
import { close, statusOf } from '../../lib/sys/file.ts'
import { withFileLock } from '../../lib/sys/lock.ts'
import { AddressFiles } from './address-files.ts'
import type { Owner } from './entry.ts'
import { containerKey, ownedBy } from './entry.ts'
import type { ContainerKey, Holding } from './index/address-index.ts'
import { AddressIndex } from './index/address-index.ts'
import { buildIndex } from './index/build.ts'
import type { IndexFile } from './index/index-file.ts'
import { openIndexFile, saveIndexFile } from './index/index-file.ts'
import { StaleIndexError } from './index/pages.ts'
import type { BootId } from './index/stamp.ts'
import { currentBoot } from './index/stamp.ts'

/** An address with its owner, as its file says. */
export interface Held extends Holding {
  readonly owner: Owner
}

/** How a network keeps its addresses. */
export interface StateOptions {
  /** For how long an address that was given back is not handed out again, unless asked for. Default 0: not at all. */
  readonly coolDownSeconds?: number
}

export class AllocationState {
  readonly files: AddressFiles
  readonly boot: BootId | undefined
  readonly #coolDownSeconds: number
  readonly #file: IndexFile | undefined
  #index: AddressIndex
  #rebuilt = false

  constructor(directory: string, { coolDownSeconds = 0 }: StateOptions = {}) {
    this.#coolDownSeconds = coolDownSeconds
    this.files = new AddressFiles(directory)
    this.boot = currentBoot()
    this.#file = openIndexFile(directory, this.boot)
    this.#index = this.#file?.fresh ? new AddressIndex(this.#file.table, false) : this.#rebuild()
  }

  get index(): AddressIndex {
    return this.#index
  }

  /** Whether the index was made from the files just now. */
  get rebuilt(): boolean {
    return this.#rebuilt
  }

  rebuild(): void {
    this.#index = this.#rebuild()
  }

  /** What the attachment holds, confirmed by the files: files without an interface's name included. */
  heldBy(containerId: string, ifname: string): Held[] {
    const held: Held[] = []
    for (const holding of this.#index.holdingsOf(containerKey(containerId))) {
      const entry = this.files.read(holding.address)
      if (entry.kind === 'taken' && entry.owner.containerId === containerId) {
        if (ownedBy(entry.owner, containerId, ifname)) held.push({ ...holding, owner: entry.owner })
      } else if (!this.#rebuilt) {
        throw new StaleIndexError(`the file of an address has another owner than it says`)
      }
    }
    return held
  }

  /** Gives an address back. @throws SysError when its file cannot be removed, or emptied for the cool-down */
  release(container: ContainerKey, address: IpAddress): void {
    if (this.#coolDownSeconds > 0) this.files.empty(address)
    else this.files.remove(address)
    this.#index.remove(container, address)
  }

  /** For how many more seconds a free address is to be left alone; 0 for one that may be handed out. */
  coolDownLeft(address: IpAddress): number {
    const emptied = this.#coolDownSeconds > 0 ? this.files.emptiedAt(address) : undefined
    if (emptied === undefined) return 0
    const age = Date.now() / 1000 - emptied.seconds - emptied.nanoseconds / 1e9
    // Further away than the cool-down in either direction: the time is up, or the clock was set back meanwhile.
    return Math.abs(age) < this.#coolDownSeconds ? this.#coolDownSeconds - age : 0
  }

  save(): void {
    if (this.#index.changed && this.boot !== undefined)
      saveIndexFile(this.files.directory, this.#file, this.#index.table, this.boot)
  }

  close(): void {
    if (this.#file !== undefined) close(this.#file.fd)
  }

  #rebuild(): AddressIndex {
    this.#rebuilt = true
    return buildIndex(this.files, this.#file)
  }
}

/**
 * Runs a function under the lock of a network's directory, which must exist. The function is run again with a new index when
 * it finds the index to be stale: what it has changed until then, it must find again.
 *
 * @param access a look leaves the index file as it is
 * @throws LockTimeoutError
 */
export function withState<T>(
  directory: string,
  access: 'change' | 'look',
  run: (state: AllocationState) => T,
  options?: StateOptions,
): T {
  const path = `${directory}/lock`
  const underLock = () => {
    const state = new AllocationState(directory, options)
    try {
      const result = runUntilFresh(state, run)
      if (access === 'change') state.save()
      return result
    } catch (error) {
      // What was changed until the failure is undone or done, in the files and in the index alike.
      if (access === 'change' && (error instanceof CniError || error instanceof SysError)) state.save()
      throw error
    } finally {
      state.close()
    }
  }
  // Nobody has ever locked it: creating the lock would be a change.
  if (access === 'look' && statusOf(path) === undefined) return underLock()
  return withFileLock(path, underLock, { shared: access === 'look' })
}

function runUntilFresh<T>(state: AllocationState, run: (state: AllocationState) => T): T {
  try {
    return run(state)
  } catch (error) {
    if (!(error instanceof StaleIndexError) || state.rebuilt) throw error
    state.rebuild()
    return run(state)
  }
}
