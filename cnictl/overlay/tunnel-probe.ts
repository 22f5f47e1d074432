/**
 * Asks the hosts at the other ends of tunnels whether they are there: ICMP echo requests that may not be fragmented, as
 * large as the largest packet of the tunnel, from its own address; and a datagram to the tunnel's port, which a host that
 * has no tunnel there refuses (and one that has one drops: it has no VNI).
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { IpAddress } from '../../lib/address/address.ts'
import { allocate } from '../../lib/sys/bytes.ts'
import { DatagramSocket } from '../../lib/sys/datagram-socket.ts'
import { Errno, SysError } from '../../lib/sys/errno.ts'

/** One tunnel's other end. */
export interface ProbeTarget {
  readonly local: IpAddress
  readonly peer: IpAddress
  /** The tunnel's UDP port. */
  readonly port: number
  /** Bytes of the IP packet around the largest packet of the tunnel. */
  readonly needed: number
}

export interface ProbeResult {
  /**
   * `answers`: the host is there and has not refused the tunnel; `refuses`: it is there, and has none; `silent`: no
   * answer, from it or a firewall; `unreachable`: the network, or this host, says so; `not asked`: see `reason`.
   */
  readonly state: 'answers' | 'refuses' | 'silent' | 'unreachable' | 'not asked'
  readonly reason?: string
  /** Bytes of the largest IP packet that gets there, at most `needed`; absent where nothing does. */
  readonly pathMtu?: number
}

/** How many hosts are asked at the same time: each takes two descriptors. */
const AT_ONCE = 100
/** How long an answer is waited for, and how often a request is sent meanwhile. */
const WAIT_MS = 900
const TRIES = 3
/** Between two looks for answers. */
const LOOK_MS = 3
/** How often, and after which time again, a datagram is sent to the tunnel's port. */
const KNOCKS = 4
const KNOCK_MS = 350
/** How many sizes are tried at once when the way is too narrow. */
const SIZES_AT_ONCE = 16

/** Asks all of them. @returns a result for each, in their order */
export async function probeTunnels(
  targets: readonly ProbeTarget[],
  signal: AbortSignal,
): Promise<(ProbeResult & { readonly target: ProbeTarget })[]> {
  const results: (ProbeResult & { readonly target: ProbeTarget })[] = []
  const ask = async (target: ProbeTarget) => ({ ...(await probeTunnel(target)), target })
  for (let start = 0; start < targets.length; start += AT_ONCE) {
    signal.throwIfAborted()
    results.push(...(await Promise.all(targets.slice(start, start + AT_ONCE).map(ask))))
  }
  return results
}

async function probeTunnel(target: ProbeTarget): Promise<ProbeResult> {
  const sockets: DatagramSocket[] = []
  const open = (kind: 'icmp' | 'udp') => {
    const socket = new DatagramSocket(kind, target.local, target.peer, target.port)
    sockets.push(socket)
    return socket
  }
  try {
    return await askHost(new EchoSocket(open('icmp'), target.local.length), open('udp'), target)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    if (error.errno === Errno.ENETUNREACH) return { state: 'unreachable', reason: 'there is no route to it' }
    if (error.errno === Errno.EPERM) return { state: 'not asked', reason: 'ICMP needs the capability CAP_NET_RAW' }
    return { state: 'not asked', reason: error.message }
  } finally {
    for (const socket of sockets) socket.close()
  }
}

async function askHost(echo: EchoSocket, udp: DatagramSocket, target: ProbeTarget): Promise<ProbeResult> {
  const [pathMtu, refused] = await Promise.all([pathMtuTo(echo, target), isRefused(udp)])
  if (pathMtu !== undefined) return { state: refused ? 'refuses' : 'answers', pathMtu }
  if (echo.isUnreachable) return { state: 'unreachable', reason: 'the network says that it cannot be reached' }
  return { state: 'silent', reason: 'no answer to ICMP echo requests' }
}

/** Bytes of the largest IP packet that is answered, undefined when none is. */
async function pathMtuTo(echo: EchoSocket, { needed, local }: ProbeTarget): Promise<number | undefined> {
  const smallest = local.length === 4 ? SMALLEST.ipv4 : SMALLEST.ipv6
  const answered = await echo.largest([smallest, needed])
  if (answered === undefined || answered === needed) return answered
  let [known, tooLarge] = [answered, needed]
  while (tooLarge - known > 1) {
    const step = Math.ceil((tooLarge - known) / (SIZES_AT_ONCE + 1))
    const sizes: number[] = []
    for (let size = known + step; size < tooLarge; size += step) sizes.push(size)
    const largest = await echo.largest(sizes)
    tooLarge = sizes.find(size => size > (largest ?? known)) ?? tooLarge
    known = largest ?? known
  }
  return known
}

/** Whether the host says that nothing is at the port. It says so once in a second at most, to whatever was sent to it. */
async function isRefused(udp: DatagramSocket): Promise<boolean> {
  for (let knock = 0; knock < KNOCKS; knock++) {
    if (udp.send(allocate(VXLAN_HEADER_BYTES)) === 'refused') return true
    for (const until = Date.now() + KNOCK_MS; Date.now() < until; await pause(LOOK_MS))
      if (udp.receive() === 'refused') return true
  }
  return false
}

/** The headers of IP and ICMP, and nothing behind. */
const SMALLEST = { ipv4: 28, ipv6: 48 } as const
const ICMP_HEADER_BYTES = 8
const VXLAN_HEADER_BYTES = 8
/** By address length: ICMP_ECHO and ICMP_ECHOREPLY, ICMPV6_ECHO_REQUEST and ICMPV6_ECHO_REPLY. */
const types = { 4: { request: 8, reply: 0 }, 16: { request: 128, reply: 129 } } as const

class EchoSocket {
  readonly #socket: DatagramSocket
  readonly #type: { readonly request: number; readonly reply: number }
  readonly #isIpv4: boolean
  readonly #id = 1 + Math.floor(Math.random() * 0xffff)
  #sequence = 0
  #isUnreachable = false

  constructor(socket: DatagramSocket, addressLength: number) {
    this.#socket = socket
    this.#isIpv4 = addressLength === 4
    this.#type = this.#isIpv4 ? types[4] : types[16]
  }

  /** Whether the network has said that the host cannot be reached. */
  get isUnreachable(): boolean {
    return this.#isUnreachable
  }

  /**
   * Sends a request of each size until the largest is answered, or long enough.
   * @param sizes of IP packets, in rising order @returns the largest that was answered
   */
  async largest(sizes: readonly number[]): Promise<number | undefined> {
    const sizeOf = new Map<number, number>()
    let largest: number | undefined
    for (let round = 0; round < TRIES; round++) {
      for (const size of sizes) {
        if (size <= (largest ?? 0)) continue
        const sequence = ++this.#sequence & 0xffff
        sizeOf.set(sequence, size)
        if (this.#socket.send(this.#request(size, sequence)) === 'unreachable') this.#isUnreachable = true
      }
      const until = Date.now() + WAIT_MS / TRIES
      while (largest !== sizes.at(-1) && Date.now() < until) {
        await pause(LOOK_MS)
        for (const sequence of this.#replies()) largest = Math.max(largest ?? 0, sizeOf.get(sequence) ?? 0)
      }
      if (largest === sizes.at(-1)) break
    }
    return largest
  }

  /** @param size of the IP packet, whose header the kernel makes, as it makes the checksum of ICMPv6 */
  #request(size: number, sequence: number): Uint8Array {
    const bytes = allocate(size - (this.#isIpv4 ? SMALLEST.ipv4 : SMALLEST.ipv6) + ICMP_HEADER_BYTES)
    const view = new DataView(bytes.buffer)
    bytes[0] = this.#type.request
    view.setUint16(4, this.#id)
    view.setUint16(6, sequence)
    if (this.#isIpv4) view.setUint16(2, checksum(bytes))
    return bytes
  }

  /** The sequence numbers of the replies that have come. */
  #replies(): number[] {
    const sequences: number[] = []
    for (;;) {
      const received = this.#socket.receive()
      if (received === undefined) return sequences
      if (received === 'unreachable') this.#isUnreachable = true
      if (!(received instanceof Uint8Array)) continue
      const message = this.#isIpv4 ? received.subarray(((received[0] ?? 0) & 0xf) * 4) : received
      if (message.length < ICMP_HEADER_BYTES || message[0] !== this.#type.reply) continue
      const view = new DataView(message.buffer, message.byteOffset)
      if (view.getUint16(4) === this.#id) sequences.push(view.getUint16(6))
    }
  }
}

/** RFC 1071, of a message whose checksum field is zero. */
function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (let index = 0; index < bytes.length; index += 2) sum += ((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
