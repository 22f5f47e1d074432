/** Who is at the other end of a unix socket. @see unix(7), SO_PEERCRED */

import { libc } from '#libc'
import { allocate } from './bytes.ts'
import { check } from './call.ts'

const SOL_SOCKET = 1
const SO_PEERCRED = 17

export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** The process that connected, as it was then. @throws SysError */
export function peerCredentials(fd: number): PeerCredentials {
  // struct ucred: three 32-bit numbers.
  const [credentials, length] = [allocate(12), allocate(4)]
  new DataView(length.buffer).setUint32(0, credentials.length, true)
  check(
    () => `peer credentials of descriptor ${fd}`,
    () => libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length),
  )
  const view = new DataView(credentials.buffer)
  return { pid: view.getInt32(0, true), uid: view.getUint32(4, true), gid: view.getUint32(8, true) }
}
