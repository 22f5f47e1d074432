/** A network's files on this node: the blocks that it holds, and how full they are. */

import { AddressFiles } from '../../ipam/allocator/address-files.ts'
import { addressDirectory, type HeldBlocks, readHeldBlocks, writeHeldBlocks } from '../../ipam/cluster/state-files.ts'
import { type IpAddress, parseAddress } from '../../lib/address/address.ts'
import { type Prefix, parsePrefix, prefixContains } from '../../lib/address/prefix.ts'
import {
  close,
  FileType,
  listDirectory,
  makeDirectories,
  O,
  open,
  statusOf,
  unlinkIfExists,
} from '../../lib/sys/file.ts'
import { withFileLock } from '../../lib/sys/lock.ts'

/** A plugin keeps the lock for some milliseconds; one that was stopped must not stop the agent. */
const LOCK_TIMEOUT_MS = 1_000

/** An address with a file. */
export interface UsedAddress {
  readonly address: IpAddress
  readonly text: string
  /** False for one that was given back and cools down, or could be handed out again. */
  readonly taken: boolean
  /** Seconds since the file was written. */
  readonly age: number
}

/** Names of the networks that have a directory here. */
export function networksIn(dataDirectory: string): string[] {
  return (listDirectory(dataDirectory) ?? []).filter(name => !name.startsWith('.'))
}

export class NetworkFiles {
  readonly network: string
  readonly #dataDirectory: string
  readonly #directory: string

  constructor(dataDirectory: string, network: string) {
    this.network = network
    this.#dataDirectory = dataDirectory
    this.#directory = addressDirectory(dataDirectory, network)
  }

  read(): HeldBlocks | undefined {
    return readHeldBlocks(this.#dataDirectory, this.network)
  }

  /**
   * Runs a function while no plugin hands out or gives back an address, and writes what it returns.
   * @throws LockTimeoutError
   */
  change(decide: (held: HeldBlocks | undefined) => HeldBlocks | undefined): void {
    makeDirectories(this.#directory)
    const underLock = () => {
      const before = this.read()
      const after = decide(before)
      if (after !== undefined && JSON.stringify(after) !== JSON.stringify(before))
        writeHeldBlocks(this.#dataDirectory, this.network, after)
    }
    withFileLock(`${this.#directory}/lock`, underLock, { timeoutMs: LOCK_TIMEOUT_MS })
  }

  /** Changes with every ADD, DEL and GC; undefined where no address was ever taken. */
  changedAt(): string | undefined {
    const status = statusOf(this.#directory)
    return status && `${status.modifiedSeconds}.${status.modifiedNanoseconds}`
  }

  /** Addresses with a file. */
  used(): UsedAddress[] {
    const now = Date.now() / 1000
    const used: UsedAddress[] = []
    for (const text of listDirectory(this.#directory) ?? []) {
      const address = parseAddress(text)
      const status = address && statusOf(`${this.#directory}/${text}`, { followLinks: false })
      if (address === undefined || status === undefined) continue
      const isEmpty = (status.mode & FileType.MASK) === FileType.REGULAR && status.size === 0
      used.push({ address, text, taken: !isEmpty, age: now - Number(status.modifiedSeconds) })
    }
    return used
  }

  /** "c1 eth0", or what else has the address's name; undefined for one that is free. */
  holderOf(text: string): string | undefined {
    const address = parseAddress(text)
    const entry = address && new AddressFiles(this.#directory).read(address)
    if (entry?.kind === 'taken') return `${entry.owner.containerId} ${entry.owner.ifname ?? ''}`.trim()
    return entry?.kind === 'foreign' ? `what is no address file in ${this.#directory}` : undefined
  }

  /** As if the address had been given back just now. */
  markReleased(address: string): void {
    close(open(`${this.#directory}/${address}`, O.WRONLY | O.CREAT | O.TRUNC))
  }

  /** Removes the marks of addresses that were given back. */
  removeMarks(marks: readonly UsedAddress[]): void {
    for (const { text, taken } of marks) if (!taken) unlinkIfExists(`${this.#directory}/${text}`)
  }
}

/** Those that lie in a block. */
export function usedIn(used: readonly UsedAddress[], block: string | Prefix): UsedAddress[] {
  const prefix = typeof block === 'string' ? parsePrefix(block) : block
  return prefix === undefined ? [] : used.filter(({ address }) => prefixContains(prefix, address))
}
