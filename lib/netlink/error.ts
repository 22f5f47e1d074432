/** A request that the kernel refused. */

import { describeErrno, errnoName } from '../sys/errno.ts'

export class NetlinkError extends Error {
  /** What was asked, with its object: `create link "cni0"`. */
  readonly operation: string
  /** The positive errno. */
  readonly errno: number
  /** Its name: "EEXIST". */
  readonly code: string
  /** The kernel's own words (NLMSGERR_ATTR_MSG), where it gave any. */
  readonly extAckMessage: string | undefined
  /** Where in the request the offending attribute begins (NLMSGERR_ATTR_OFFS). */
  readonly extAckOffset: number | undefined

  constructor(
    operation: string,
    errno: number,
    extAck: { message?: string | undefined; offset?: number | undefined } = {},
  ) {
    super(`${operation}: ${extAck.message ? `${extAck.message}: ` : ''}${describeErrno(errno)}`)
    this.name = 'NetlinkError'
    this.operation = operation
    this.errno = errno
    this.code = errnoName(errno)
    this.extAckMessage = extAck.message
    this.extAckOffset = extAck.offset
  }
}
