/**
 * Datagrams between one address of this host and one of another, without fragments: for finding out whether the other
 * is there, and how large packets may be on the way. @see ip(7), ipv6(7), raw(7), udp(7)
 */

import { libc } from '#libc'
import { allocate } from './bytes.ts'
import { attempt, check } from './call.ts'
import { Errno } from './errno.ts'
import { close } from './file.ts'

const AF_INET = 2
const AF_INET6 = 10
const SOCK_DGRAM = 2
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const IPPROTO_ICMP = 1
const IPPROTO_UDP = 17
const IPPROTO_ICMPV6 = 58
const MSG_DONTWAIT = 0x40

/** IP_MTU_DISCOVER and IPV6_MTU_DISCOVER by level, linux/in.h and linux/in6.h. */
const mtuDiscover = { [AF_INET]: { level: 0, option: 10 }, [AF_INET6]: { level: 41, option: 23 } } as const
/** IP_PMTUDISC_PROBE: with DF, and whatever the kernel believes of the way. */
const PMTUDISC_PROBE = 3

/** What the network or this host says of a datagram instead of an answer. */
export type Refusal = 'too large' | 'refused' | 'unreachable' | 'forbidden'

const refusals: Readonly<Record<number, Refusal>> = {
  [Errno.EMSGSIZE]: 'too large',
  [Errno.ECONNREFUSED]: 'refused',
  [Errno.ENETUNREACH]: 'unreachable',
  [Errno.EHOSTUNREACH]: 'unreachable',
  // A firewall, there or here.
  [Errno.EACCES]: 'forbidden',
  [Errno.EPERM]: 'forbidden',
}
const expected = Object.keys(refusals).map(Number)

/** Never waits. */
export class DatagramSocket {
  readonly #fd: number

  /**
   * @param kind `icmp` needs CAP_NET_RAW; of IPv4, what it receives begins with the IP header
   * @param port the other's, for `udp`
   * @throws SysError EPERM without the capability, EADDRNOTAVAIL when `local` is not this host's, ENETUNREACH without a route
   */
  constructor(kind: 'icmp' | 'udp', local: Uint8Array, peer: Uint8Array, port = 0) {
    const family = local.length === 4 ? AF_INET : AF_INET6
    const icmp = family === AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6
    const [type, protocol] = kind === 'icmp' ? [SOCK_RAW, icmp] : [SOCK_DGRAM, IPPROTO_UDP]
    this.#fd = check(
      () => `open a socket for ${kind.toUpperCase()}`,
      () => libc.socket(family, type | SOCK_CLOEXEC, protocol),
    )
    try {
      const { level, option } = mtuDiscover[family]
      const value = allocate(4)
      value[0] = PMTUDISC_PROBE
      check(
        () => 'forbid fragments',
        () => libc.setsockopt(this.#fd, level, option, value, value.length),
      )
      const [from, to] = [socketAddress(local, 0), socketAddress(peer, kind === 'udp' ? port : 0)]
      check(
        () => 'bind to the local address',
        () => libc.bind(this.#fd, from, from.length),
      )
      check(
        () => 'connect to the peer',
        () => libc.connect(this.#fd, to, to.length),
      )
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Sends a datagram. What an earlier one met may be told here too. */
  send(bytes: Uint8Array): Refusal | undefined {
    const result = attempt(
      expected,
      () => 'send a datagram',
      () => libc.send(this.#fd, bytes, bytes.length, MSG_DONTWAIT),
    )
    return refusals[-result]
  }

  /** What has come: a datagram, what became of one that was sent, or undefined for nothing. */
  receive(): Uint8Array | Refusal | undefined {
    const result = attempt(
      [...expected, Errno.EAGAIN],
      () => 'receive a datagram',
      () => libc.recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT),
    )
    return result >= 0 ? buffer.slice(0, result) : refusals[-result]
  }

  close(): void {
    close(this.#fd)
  }
}

/** Of the size of the largest IP packet. One for all: what is received is copied at once. */
const buffer = allocate(65_535)

/** struct sockaddr_in or struct sockaddr_in6. */
function socketAddress(address: Uint8Array, port: number): Uint8Array {
  const isIpv4 = address.length === 4
  const bytes = allocate(isIpv4 ? 16 : 28)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, isIpv4 ? AF_INET : AF_INET6, true)
  view.setUint16(2, port)
  bytes.set(address, isIpv4 ? 4 : 8)
  return bytes
}
