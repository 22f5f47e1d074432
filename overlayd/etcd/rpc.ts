/**
 * etcd's calls: the fields of its messages that the agent uses.
 * @see https://github.com/etcd-io/etcd/blob/v3.4.23/etcdserver/etcdserverpb/rpc.proto
 */

import { boolean, bytes, identifier, integer, message, nested, repeated, text } from './protobuf.ts'

const responseHeader = message({ revision: integer(3) })

const keyValue = message({
  key: bytes(1),
  createRevision: integer(2),
  modRevision: integer(3),
  value: bytes(5),
  lease: identifier(6),
})

const rangeRequest = message({
  key: bytes(1),
  rangeEnd: bytes(2),
  limit: integer(3),
  revision: integer(4),
  keysOnly: boolean(8),
})
const rangeResponse = message({
  header: nested(1, responseHeader),
  kvs: repeated(nested(2, keyValue)),
  more: boolean(3),
})

const putRequest = message({ key: bytes(1), value: bytes(2), lease: identifier(3) })
const deleteRequest = message({ key: bytes(1), rangeEnd: bytes(2) })

/** Compare.CompareResult and Compare.CompareTarget. */
export const Comparison = { equal: 0, greater: 1 } as const
export const CompareTarget = { version: 0, create: 1, mod: 2 } as const

const compare = message({
  result: integer(1),
  target: integer(2),
  key: bytes(3),
  /** A oneof: the field that belongs to the target is to be set. */
  version: integer(4),
  modRevision: integer(6),
  /** All keys up to here: a version of 0 then says that there are none. */
  rangeEnd: bytes(64),
})
const requestOperation = message({ put: nested(2, putRequest), delete: nested(3, deleteRequest) })
const transactionRequest = message({
  compare: repeated(nested(1, compare)),
  success: repeated(nested(2, requestOperation)),
})
const transactionResponse = message({ header: nested(1, responseHeader), succeeded: boolean(2) })

const watchCreate = message({
  key: bytes(1),
  rangeEnd: bytes(2),
  startRevision: integer(3),
  progressNotify: boolean(4),
})
const watchRequest = message({ create: nested(1, watchCreate) })

/** Event.EventType */
export const EventType = { put: 0, delete: 1 } as const

const event = message({ type: integer(1), kv: nested(2, keyValue) })
const watchResponse = message({
  header: nested(1, responseHeader),
  created: boolean(3),
  canceled: boolean(4),
  compactRevision: integer(5),
  cancelReason: text(6),
  fragment: boolean(7),
  events: repeated(nested(11, event)),
})

/** A call: its path, and the messages both ways. */
export interface Call<Q, A> {
  readonly path: string
  readonly request: { encode(value: Q): Buffer }
  readonly answer: { decode(data: Uint8Array): A }
}

function call<Q, A>(path: string, request: Call<Q, A>['request'], answer: Call<Q, A>['answer']): Call<Q, A> {
  return { path: `/etcdserverpb.${path}`, request, answer }
}

export const authenticate = call(
  'Auth/Authenticate',
  message({ name: text(1), password: text(2) }),
  message({ token: text(2) }),
)
export const range = call('KV/Range', rangeRequest, rangeResponse)
export const transaction = call('KV/Txn', transactionRequest, transactionResponse)
export const compact = call('KV/Compact', message({ revision: integer(1) }), message({}))
export const watch = call('Watch/Watch', watchRequest, watchResponse)
export const grantLease = call('Lease/LeaseGrant', message({ ttl: integer(1) }), message({ id: identifier(2) }))
export const revokeLease = call('Lease/LeaseRevoke', message({ id: identifier(1) }), message({}))
export const keepLeaseAlive = call(
  'Lease/LeaseKeepAlive',
  message({ id: identifier(1) }),
  message({ id: identifier(2), ttl: integer(3) }),
)
