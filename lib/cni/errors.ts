/** Errors as the CNI protocol carries them (SPEC 1.1.0, "Error"; codes below 100 are the specification's). */

/** The specification's codes, and cnikit's own from 100 up. */
export const ErrorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodeFailure: 6,
  invalidNetworkConfig: 7,
  /** Not in the specification's text, but in its Go library: CNI_NETNS cannot be used. */
  invalidNetns: 8,
  tryAgainLater: 11,
  /** STATUS: ADD cannot be served. */
  unavailable: 50,
  /** STATUS: as 50, and existing containers may be cut off. */
  unavailableAndLimited: 51,
  /** The kernel refused a change: netlink, nftables, a sysctl, a mount. */
  kernel: 100,
  /** The kernel lacks a feature that the configuration asks for. */
  kernelFeatureMissing: 101,
  /** No address is free in a range set. */
  poolExhausted: 102,
  /** A requested address is taken by another attachment. */
  addressInUse: 103,
  /** Something on the host is in the way: a bridge name taken by another kind of link, a foreign address on it. */
  conflict: 104,
  /** CHECK found the attachment not as ADD left it. */
  checkFailed: 105,
  /** A plugin that this one delegates to could not be run, or answered what is no CNI document. */
  delegateFailed: 106,
  /** A signal asked the plugin to stop; what it had changed is undone. */
  interrupted: 107,
  /** A program of the host (iptables-restore, ...) failed. */
  hostProgramFailed: 108,
  /** A link of the host that the configuration names, or means, is not there. */
  linkMissing: 109,
  /** The control plane of the cluster (etcd) refuses, for other reasons than being away. */
  controlPlane: 110,
  /** A defect of cnikit itself; `details` holds the stack. */
  internal: 199,
} as const

export type ErrorCodeValue = (typeof ErrorCode)[keyof typeof ErrorCode]

/**
 * What a plugin answers instead of a result.
 * `message` (the document's `msg`) says what is wrong and with which value; `details` says what to do about it.
 */
export class CniError extends Error {
  readonly code: number
  readonly details: string | undefined

  constructor(code: number, message: string, details?: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CniError'
    this.code = code
    this.details = details
  }
}
