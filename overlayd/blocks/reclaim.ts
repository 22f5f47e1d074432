/** Taking over the block of a node that is dead. */

import { parseAddress } from '../../lib/address/address.ts'
import { type Prefix, prefixContains } from '../../lib/address/prefix.ts'
import type { Condition, Entry, Operation } from '../etcd/store.ts'
import { type BlockRecord, type BlockStore, blockLeaseKey, type EndpointPlace, unchanged } from './records.ts'

/**
 * Makes a dead node's block another's, with the endpoints that it had there, in one transaction: only as long as the node
 * has not come back, and nobody else was faster. A block with an endpoint that lives on another node by now, because a container
 * has moved with its address, stays as it is.
 *
 * @param node that takes it
 * @returns whether it is taken
 */
export async function reclaimBlock(
  store: BlockStore,
  node: string,
  entry: Entry<BlockRecord>,
  block: Prefix,
  record: BlockRecord,
): Promise<boolean> {
  const dead = entry.value.node
  const conditions: Condition[] = [
    unchanged(entry),
    { key: blockLeaseKey(dead), revision: 0 },
    { key: blockLeaseKey(node), exists: true },
  ]
  const operations: Operation[] = [{ put: entry.key, value: record }]
  const { entries } = await store.list<EndpointPlace>(`endpoints/${entry.value.network}/`)
  for (const endpoint of entries) {
    const address = parseAddress(endpoint.key.slice(endpoint.key.lastIndexOf('/') + 1))
    if (address === undefined || !prefixContains(block, address)) continue
    if (endpoint.value.node !== dead) return false
    conditions.push(unchanged(endpoint))
    operations.push({ delete: endpoint.key })
  }
  return (await store.transaction(conditions, operations)).succeeded
}
