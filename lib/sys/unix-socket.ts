/** A question to a process of this host over a unix socket, and its answer. @see unix(7) */

import { libc } from '#libc'
import { allocate, decodeText, encodeText } from './bytes.ts'
import { check } from './call.ts'
import { Errno, SysError } from './errno.ts'
import { close, readAll } from './file.ts'

const AF_UNIX = 1
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000
const SOL_SOCKET = 1
const SO_RCVTIMEO = 20
const SO_SNDTIMEO = 21
/** A peer that has closed the socket is an error, not a SIGPIPE. */
const MSG_NOSIGNAL = 0x4000
/** sizeof(sun_path), linux/un.h, less the final NUL. */
const PATH_LENGTH = 107

/**
 * Sends a text over a connection of its own and returns all that the other side sends until it closes.
 * @param timeoutMs for each wait: to be let in, to be read, for an answer
 * @throws SysError ENOENT or ECONNREFUSED when nobody listens, EAGAIN when a wait was too long
 */
export function askUnixSocket(path: string, text: string, timeoutMs: number): string {
  const address = encodeText(path)
  if (address.length > PATH_LENGTH) throw new SysError(`connect to ${JSON.stringify(path)}`, Errno.ENAMETOOLONG)
  const fd = check(
    () => 'open unix socket',
    () => libc.socket(AF_UNIX, SOCK_STREAM_CLOEXEC, 0),
  )
  try {
    // struct timeval
    const timeout = allocate(16)
    const view = new DataView(timeout.buffer)
    view.setBigInt64(0, BigInt(Math.floor(timeoutMs / 1000)), true)
    view.setBigInt64(8, BigInt((timeoutMs % 1000) * 1000), true)
    for (const option of [SO_SNDTIMEO, SO_RCVTIMEO]) {
      check(
        () => `set timeout of ${JSON.stringify(path)}`,
        () => libc.setsockopt(fd, SOL_SOCKET, option, timeout, timeout.length),
      )
    }
    // struct sockaddr_un: u16 family, path.
    const name = allocate(2 + PATH_LENGTH + 1)
    new DataView(name.buffer).setUint16(0, AF_UNIX, true)
    name.set(address, 2)
    check(
      () => `connect to ${JSON.stringify(path)}`,
      () => libc.connect(fd, name, name.length),
    )
    for (let rest: Uint8Array = encodeText(text); rest.length > 0; ) {
      const part = rest
      rest = rest.subarray(
        check(
          () => `send to ${JSON.stringify(path)}`,
          () => libc.send(fd, part, part.length, MSG_NOSIGNAL),
        ),
      )
    }
    return decodeText(readAll(fd))
  } finally {
    close(fd)
  }
}
