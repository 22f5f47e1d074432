/** Several nodes of a cluster in this process, and what has to hold among them at any time. */

import type { Test } from 'tap'
import { CniError } from '../../../lib/cni/errors.ts'
import type { AddressBlocksOptions } from '../../../overlayd/blocks/address-blocks.ts'
import type { BlockRecord } from '../../../overlayd/blocks/records.ts'
import { MemoryEtcd } from './memory-store.ts'
import { SimulatedNode } from './simulated-node.ts'

/** Nodes with agents that have started. */
export async function cluster(t: Test, count: number, options: Partial<AddressBlocksOptions> = {}) {
  const etcd = new MemoryEtcd()
  const nodes = Array.from({ length: count }, (_, index) => {
    return new SimulatedNode(clean => t.teardown(clean), etcd, `node-${index + 1}`, options)
  })
  await Promise.all(nodes.map(node => node.start()))
  const [first, second, third] = nodes
  if (first === undefined) throw new Error('a cluster has a node')
  return { etcd, nodes, first, second: second ?? first, third: third ?? first }
}

/** The error that a promise ends with. */
export async function errorOf(promise: Promise<unknown>): Promise<CniError> {
  try {
    await promise
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('there was no error')
}

/** No block has two holders, and the nodes' files say what etcd says. */
export function assertSound(t: Test, etcd: MemoryEtcd, nodes: readonly SimulatedNode[]): void {
  const inEtcd = etcd
    .keys('blocks/net/')
    .map(key => `${etcd.value<BlockRecord>(key)?.node} ${key.slice('blocks/net/'.length).replace('-', '/')}`)
  const inFiles = nodes.flatMap(node => node.blocks().map(block => `${node.name} ${block}`))
  t.same(inFiles.toSorted(), inEtcd.toSorted(), 'files and etcd agree')
  const taken = nodes.flatMap(node => [...node.taken().keys()])
  t.equal(new Set(taken).size, taken.length, 'no address is taken twice')
}
