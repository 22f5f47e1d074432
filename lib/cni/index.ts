/** Writing a CNI plugin: its shape, its main program, and what a plugin needs of the protocol. */

export type { ConfigSchema, Validate } from './config.ts'
export { parseConfig } from './config.ts'
export { delegateAdd, delegateCheck, delegateDel, delegateGc, delegateStatus } from './delegate.ts'
export type { ErrorCodeValue } from './errors.ts'
export { CniError, ErrorCode } from './errors.ts'
export { toCniError } from './failure.ts'
export { attachmentDigest, hostVethName } from './names.ts'
export { formatResult, parseResult } from './results/index.ts'
export { dispatch, runPlugin } from './run.ts'
export type { StandardStreams } from './standard-streams.ts'
export type { Transaction } from './transaction.ts'
export { runTransaction } from './transaction.ts'
export type {
  AttachmentId,
  AttachmentRequest,
  CniVersion,
  Command,
  Dns,
  GcRequest,
  Interface,
  IpConfig,
  NetnsUse,
  NetworkConfig,
  NetworkRequest,
  Plugin,
  Result,
  Route,
} from './types.ts'
export { cniVersions } from './types.ts'
