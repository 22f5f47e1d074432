/**
 * What overlayd tells the plugin through files, so that ADD need not ask it:
 *
 *     <dataDir>/.lease                   until when the blocks of this node are its own
 *     <dataDir>/<network>/blocks.json    which blocks they are
 *     <dataDir>/<network>/addresses/     the addresses taken, in host-local's format
 *
 * The agent alone writes the first two, the second under the lock of the third; all that they say is in etcd as well.
 */

import type { BlockRange } from '../../lib/overlay/agent-protocol.ts'
import { readFileIfExists, replaceFile } from '../../lib/sys/file.ts'
import type { BootId } from '../allocator/index/stamp.ts'
import { sameBoot } from '../allocator/index/stamp.ts'

/** A block that this node may hand out for a network. */
export interface HeldBlock {
  /** "10.1.0.64/26" */
  readonly prefix: string
  /** Addresses in it that other nodes have borrowed. */
  readonly lent: readonly string[]
}

/** blocks.json */
export interface HeldBlocks {
  readonly version: 1
  readonly pool: string
  readonly node: string
  readonly blocks: readonly HeldBlock[]
  /** Addresses out of other nodes' blocks, each for the attachment that asked for it. */
  readonly borrowed: readonly string[]
  /** The configuration when a block was last asked for: the agent takes and gives back by it on its own. */
  readonly rangeSets: readonly (readonly BlockRange[])[]
  readonly coolDownSeconds: number
}

/** .lease */
export interface BlockLease {
  readonly version: 1
  readonly node: string
  readonly boot: BootId
  /** In seconds of CLOCK_BOOTTIME. */
  readonly expires: number
}

export function networkDirectory(dataDirectory: string, network: string): string {
  return `${dataDirectory}/${network}`
}

/** Where the allocator keeps the addresses. */
export function addressDirectory(dataDirectory: string, network: string): string {
  return `${networkDirectory(dataDirectory, network)}/addresses`
}

/** Undefined where there is none, or none that can be understood: the agent writes another when it is asked. */
export function readHeldBlocks(dataDirectory: string, network: string): HeldBlocks | undefined {
  return readVersion1<HeldBlocks>(blocksPath(dataDirectory, network))
}

/** To be called under the lock of the addresses. */
export function writeHeldBlocks(dataDirectory: string, network: string, held: HeldBlocks): void {
  replaceFile(blocksPath(dataDirectory, network), `${JSON.stringify(held)}\n`)
}

export function readBlockLease(dataDirectory: string): BlockLease | undefined {
  return readVersion1<BlockLease>(leasePath(dataDirectory))
}

export function writeBlockLease(dataDirectory: string, lease: BlockLease): void {
  replaceFile(leasePath(dataDirectory), `${JSON.stringify(lease)}\n`)
}

/** For how many more seconds this node may hand out addresses of its blocks; not positive when it may not. */
export function secondsOfLease(lease: BlockLease | undefined, boot: BootId | undefined, now: number): number {
  return lease === undefined || boot === undefined || !sameBoot(lease.boot, boot) ? 0 : lease.expires - now
}

function blocksPath(dataDirectory: string, network: string): string {
  return `${networkDirectory(dataDirectory, network)}/blocks.json`
}

/** No network has such a name. */
function leasePath(dataDirectory: string): string {
  return `${dataDirectory}/.lease`
}

function readVersion1<T extends { readonly version: 1 }>(path: string): T | undefined {
  const text = readFileIfExists(path)
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    const isKnown = typeof value === 'object' && value !== null && 'version' in value && value.version === 1
    return isKnown ? (value as T) : undefined
  } catch {
    return undefined
  }
}
