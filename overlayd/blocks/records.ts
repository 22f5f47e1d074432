/**
 * What etcd knows of address pools:
 *
 *     pools/<pool>                 which subnets it has, and how long the prefixes of their blocks are
 *     blocks/<pool>/10.1.0.64-26   which node has the block, for which of its networks
 *     pins/<pool>/10.1.0.70        an address that a node asks of the one that has its block, and has from it
 *     block-leases/<node>          under a lease as long as settings.deadAfter: while it is there, the node's blocks are its own
 */

import { formatPrefix, type Prefix, parsePrefix } from '../../lib/address/prefix.ts'
import type { AgentAttachment } from '../../lib/overlay/agent-protocol.ts'
import type { Condition, Entry, Store } from '../etcd/store.ts'

/** What the blocks need of the store. */
export type BlockStore = Pick<Store, 'get' | 'list' | 'transaction' | 'watch' | 'grantLease' | 'renewLease'>

/** Runs one thing at a time for each name, a network's for example. */
export type Alone = <T>(name: string, run: () => Promise<T>) => Promise<T>

export interface PoolRecord {
  /** Block lengths by subnet: {"10.1.0.0/16": 26} */
  readonly subnets: Readonly<Record<string, number>>
}

export interface BlockRecord {
  readonly node: string
  readonly network: string
  /** How many of its addresses were taken when the node last told: a minute ago at most. */
  readonly inUse: number
}

export type PinState = 'asked' | 'granted' | 'refused'

export interface PinRecord extends AgentAttachment {
  /** That asks for it. */
  readonly node: string
  readonly state: PinState
  /** Why it was refused. */
  readonly reason?: string
}

/** Part of an endpoint's record that matters here: where it lives. */
export interface EndpointPlace {
  readonly node: string
}

export const poolKey = (pool: string): string => `pools/${pool}`
/** @param pool default: all of them */
export const blocksPrefix = (pool?: string): string => (pool === undefined ? 'blocks/' : `blocks/${pool}/`)
export const blockKey = (pool: string, block: Prefix): string =>
  `${blocksPrefix(pool)}${formatPrefix(block).replace('/', '-')}`
export const pinsPrefix = 'pins/'
export const pinKey = (pool: string, address: string): string => `${pinsPrefix}${pool}/${address}`
export const blockLeasesPrefix = 'block-leases/'
export const blockLeaseKey = (node: string): string => `${blockLeasesPrefix}${node}`

/** Of a block's key; undefined for what is no such key. */
export function blockOfKey(key: string): { pool: string; block: Prefix } | undefined {
  const [, pool = '', name = ''] = key.split('/')
  const dash = name.lastIndexOf('-')
  const block = parsePrefix(`${name.slice(0, dash)}/${name.slice(dash + 1)}`)
  return block && { pool, block }
}

/** Of a pin's key. */
export function addressOfPinKey(key: string): { pool: string; address: string } {
  const [, pool = '', address = ''] = key.split('/')
  return { pool, address }
}

/** That a key is still as it was read. */
export const unchanged = ({ key, revision }: Entry<unknown>): Condition => ({ key, revision })
