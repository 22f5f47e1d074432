/** Changes that the kernel makes all together or not at all. @see linux/netfilter/nfnetlink.h, NFNL_MSG_BATCH_* */

import { Errno } from '../../sys/errno.ts'
import { attributeTable, u32be } from '../codec.ts'
import { NetlinkError } from '../error.ts'
import type { Request } from '../message.ts'
import { request } from '../message.ts'
import type { NetlinkSocket } from '../socket.ts'
import { netfilterFormat, Subsystem } from './subsystem.ts'
import { nftType } from './table.ts'

const NFNL_MSG_BATCH_BEGIN = 16
const NFNL_MSG_BATCH_END = 17

const batchAttributes = attributeTable('NFNL_BATCH', { genid: [1, u32be] })
const batchFormat = netfilterFormat(batchAttributes)

const generationFormat = netfilterFormat(attributeTable('NFTA_GEN', { id: [1, u32be] }))

/**
 * The number of the ruleset's state in this network namespace: it grows with every change to nftables. A batch that is
 * given the number is refused once anything has changed since. @throws NetlinkError
 */
export function rulesetGeneration(socket: NetlinkSocket): number {
  const operation = 'read nftables generation'
  const answer = socket.get(generationFormat, request(generationFormat, { type: nftType('getGeneration'), operation }))
  if (answer?.attributes.id === undefined) throw new NetlinkError(operation, Errno.ENOENT)
  return answer.attributes.id
}

function boundary(type: number, genid?: number): Request {
  return request(batchFormat, {
    type,
    operation: `${type === NFNL_MSG_BATCH_BEGIN ? 'apply' : 'end'} nftables batch`,
    header: { resource: Subsystem.nftables },
    ...(genid !== undefined && { attributes: { genid } }),
  })
}

/**
 * Makes all of the changes in one transaction.
 * @param options.generation refuse with ERESTART if the ruleset is no longer in this state; see {@link rulesetGeneration}
 * @throws NetlinkError naming the first change that failed; nothing is changed then
 */
export function applyBatch(
  socket: NetlinkSocket,
  changes: readonly Request[],
  options: { generation?: number } = {},
): void {
  if (changes.length === 0) return
  socket.executeBatch(boundary(NFNL_MSG_BATCH_BEGIN, options.generation), changes, boundary(NFNL_MSG_BATCH_END))
}
