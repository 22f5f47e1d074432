/** ADD: one address from each range set. */

import type { IpAddress } from '../../lib/address/address.ts'
import { compareAddresses, equalAddresses, formatAddress, nextAddress } from '../../lib/address/address.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { makeDirectories } from '../../lib/sys/file.ts'
import type { WriteTime } from './address-files.ts'
import { containerKey, encodeOwner } from './entry.ts'
import type { ContainerKey } from './index/address-index.ts'
import { StaleIndexError } from './index/pages.ts'
import type { Stamp } from './index/stamp.ts'
import { sameStamp, stampOf } from './index/stamp.ts'
import type { Range } from './range.ts'
import type { RangeSet, Segment } from './range-set.ts'
import { formatRangeSet, isGateway, rangeOf, segmentsAfter } from './range-set.ts'
import { reclaim } from './reclaim.ts'
import type { AllocationState, Held } from './state.ts'
import { withState } from './state.ts'

export interface AllocationRequest {
  /** The network's directory; made when missing. */
  readonly directory: string
  readonly containerId: string
  readonly ifname: string
  /** Path of the container's network namespace, by which its end is noticed. */
  readonly netns: string
  readonly rangeSets: readonly RangeSet[]
  /** Addresses asked for, by range set; undefined for any. */
  readonly requested: readonly (IpAddress | undefined)[]
}

export interface Allocation {
  readonly address: IpAddress
  readonly range: Range
}

/** No address of a range set can be handed out now. */
export class ExhaustedError extends CniError {
  readonly rangeSet: number

  /** @param coolDown seconds until the first of the free addresses may be used again; undefined when none is free */
  constructor(set: RangeSet, index: number, directory: string, coolDown: number | undefined) {
    const none = `failed to allocate for range ${index}: no IP addresses available in range set: ${formatRangeSet(set)}`
    if (coolDown === undefined)
      super(
        ErrorCode.poolExhausted,
        none,
        `all are held, see ${directory}; let the runtime run GC, delete attachments, or give the network more ranges`,
      )
    else
      super(
        ErrorCode.tryAgainLater,
        none,
        `those that are free were given back just now: the first may be used again in ${Math.ceil(coolDown)} s`,
      )
    this.name = 'ExhaustedError'
    this.rangeSet = index
  }
}

/**
 * Takes an address from each range set, or none at all. What the attachment holds already it is given again.
 *
 * @throws ExhaustedError 102 when a set is exhausted
 * @throws CniError 103 when a requested address is taken, 104 when the attachment holds another
 * @throws LockTimeoutError, SysError
 */
export function allocate(request: AllocationRequest): Allocation[] {
  makeDirectories(request.directory)
  return withState(request.directory, 'change', state => takeAddresses(state, request))
}

/** As `allocate`, for who has the lock already. */
export function takeAddresses(state: AllocationState, request: Omit<AllocationRequest, 'directory'>): Allocation[] {
  const attachment = new Attachment(state, request)
  try {
    const allocations = request.rangeSets.map((set, index) => attachment.addressFrom(set, index))
    attachment.stamp()
    return allocations
  } catch (error) {
    attachment.undo()
    throw error
  }
}

/** What one attachment takes in one go. */
class Attachment {
  readonly #state: AllocationState
  readonly #request: Omit<AllocationRequest, 'directory'>
  readonly #taken: IpAddress[] = []
  readonly #key: ContainerKey
  readonly #stamp: Stamp | undefined
  readonly #held: readonly Held[]
  /** In seconds, of the addresses that were passed over in the set. */
  #shortestCoolDown: number | undefined

  constructor(state: AllocationState, request: Omit<AllocationRequest, 'directory'>) {
    this.#state = state
    this.#request = request
    this.#key = containerKey(request.containerId)
    this.#stamp = stampOf(request.netns, state.boot)
    this.#held = state.heldBy(request.containerId, request.ifname)
  }

  addressFrom(set: RangeSet, index: number): Allocation {
    const requested = this.#request.requested[index]
    try {
      const address = this.#heldIn(set, requested) ?? this.#takeFrom(set, index, requested)
      const range = rangeOf(set, address)
      if (range === undefined) throw new RangeError(`${formatAddress(address)} is not in ${formatRangeSet(set)}`)
      return { address, range }
    } catch (error) {
      if (!(error instanceof CniError) || error instanceof ExhaustedError) throw error
      throw new CniError(error.code, `failed to allocate for range ${index}: ${error.message}`, error.details)
    }
  }

  /** What it held already is from now on for the namespace that it has now. */
  stamp(): void {
    for (const held of this.#held)
      if (!sameStamp(held.stamp, this.#stamp)) this.#state.index.update(this.#key, { ...held, stamp: this.#stamp })
  }

  /** Gives back what was newly taken. */
  undo(): void {
    // The files first: when the index turns out to be stale here, it is made from them again.
    for (const address of this.#taken) this.#state.files.remove(address)
    for (const address of this.#taken) this.#state.index.remove(this.#key, address)
  }

  #heldIn(set: RangeSet, requested: IpAddress | undefined): IpAddress | undefined {
    const held = this.#held.map(({ address }) => address).filter(address => rangeOf(set, address) !== undefined)
    if (requested === undefined) return held[0]
    const same = held.find(address => equalAddresses(address, requested))
    if (same !== undefined || held.length === 0) return same
    const { containerId, ifname } = this.#request
    const texts = held.map(formatAddress).join(', ')
    throw new CniError(
      ErrorCode.conflict,
      `requested IP address ${formatAddress(requested)}, but ${containerId} already holds ${texts}`,
      `run DEL for ${containerId} ${ifname} before it is given another address, or request ${texts}`,
    )
  }

  #takeFrom(set: RangeSet, index: number, requested: IpAddress | undefined): IpAddress {
    const address = requested === undefined ? this.#takeNext(set, index) : this.#takeRequested(set, requested)
    this.#state.files.setCursor(index, address)
    return address
  }

  #takeRequested(set: RangeSet, address: IpAddress): IpAddress {
    if (this.#take(address)) return address
    if (reclaim(this.#state, this.#key, address) > 0 && this.#take(address)) return address
    const entry = this.#state.files.read(address)
    const holder =
      entry.kind === 'taken'
        ? `${entry.owner.containerId} ${entry.owner.ifname ?? ''}`.trim()
        : 'what is no address file'
    throw new CniError(
      ErrorCode.addressInUse,
      `requested IP address ${formatAddress(address)} is not available in range set ${formatRangeSet(set)}`,
      `it is held by ${holder}, see ${this.#state.files.directory}/${formatAddress(address)}`,
    )
  }

  #takeNext(set: RangeSet, index: number): IpAddress {
    this.#shortestCoolDown = undefined
    const cursor = this.#state.files.cursor(index)
    const address = this.#takeFirstFree(set, cursor)
    if (address !== undefined) return address
    // The files have the last word on whether a pool is dry.
    if (!this.#state.rebuilt) throw new StaleIndexError('no address is free')
    const reclaimed = reclaim(this.#state, this.#key) > 0 ? this.#takeFirstFree(set, cursor) : undefined
    if (reclaimed !== undefined) return reclaimed
    throw new ExhaustedError(set, index, this.#state.files.directory, this.#shortestCoolDown)
  }

  #takeFirstFree(set: RangeSet, cursor: IpAddress | undefined): IpAddress | undefined {
    for (const [first, last] of segmentsAfter(set, cursor)) {
      for (let from: IpAddress | undefined = first; from !== undefined; ) {
        const address = firstFree(this.#state, set, [from, last])
        if (address === undefined) break
        const coolDown = this.#state.coolDownLeft(address)
        if (coolDown > 0) {
          this.#shortestCoolDown = Math.min(coolDown, this.#shortestCoolDown ?? coolDown)
          from = nextAddress(address)
          continue
        }
        if (this.#take(address)) return address
        // Its name is taken by what came without the lock just now, or by no file at all.
        this.#state.index.block(address)
        from = address
      }
    }
    return undefined
  }

  /** False when the address has a file already. */
  #take(address: IpAddress): boolean {
    const content = encodeOwner(this.#request.containerId, this.#request.ifname)
    const { files, index } = this.#state
    let written: WriteTime | undefined = files.create(address, content)
    if (written === undefined && files.read(address).kind === 'torn') {
      files.remove(address)
      written = files.create(address, content)
    }
    if (written !== undefined) {
      this.#taken.push(address)
      index.add(this.#key, { address, stamp: this.#stamp, written })
      return true
    }
    if (!index.isUsed(address) && !this.#state.rebuilt) throw new StaleIndexError('a free address has a file')
    return false
  }
}

/** The first address of a segment that the index calls free and that may be handed out. */
export function firstFree(state: AllocationState, set: RangeSet, [first, last]: Segment): IpAddress | undefined {
  let address = state.index.nextUnused(first)
  while (address !== undefined && isGateway(set, address)) {
    const next = nextAddress(address)
    address = next === undefined ? undefined : state.index.nextUnused(next)
  }
  return address !== undefined && compareAddresses(address, last) <= 0 ? address : undefined
}
