/**
 * A netlink socket: requests with acknowledgement, several in one send, and dumps that are whole or an error.
 * It stays in the network namespace in which it was opened, wherever its thread goes afterwards.
 */

import { libc } from '#libc'
import { allocate } from '../sys/bytes.ts'
import { attempt, check } from '../sys/call.ts'
import { Errno, SysError } from '../sys/errno.ts'
import { close } from '../sys/file.ts'
import { type AttributeTable, attributeTable, type Codec, decodeAttributes, string, u32 } from './codec.ts'
import { NetlinkError } from './error.ts'
import {
  type Answer,
  decodeAnswer,
  encodeRequest,
  type MessageFormat,
  messagesOf,
  NLM_F,
  NLMSG_DONE,
  NLMSG_ERROR,
  type ReceivedMessage,
  type Request,
} from './message.ts'
import { ByteWriter } from './wire.ts'

/** @see linux/netlink.h */
export const NetlinkProtocol = { route: 0, sockDiag: 4, netfilter: 12, generic: 16 } as const

const AF_NETLINK = 16
const SOCKADDR_NL_BYTES = 12
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const SOL_SOCKET = 1
const SO_RCVTIMEO = 20
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33
const SOL_NETLINK = 270
const NETLINK_CAP_ACK = 10
const NETLINK_EXT_ACK = 11
const NETLINK_GET_STRICT_CHK = 12
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40

/** The kernel sends dumps in datagrams of up to 32 KiB; asking the size first would cost more than a spare buffer. */
const RECEIVE_BYTES = 64 << 10
/** The kernel answers before send returns: waiting means that an answer was lost. */
const RECEIVE_TIMEOUT_SECONDS = 10
/**
 * How many requests go in one send. Their answers wait in the socket's receive buffer (208 KiB by default, at some 1 KiB
 * an acknowledgement and 4 KiB a link), and the kernel drops those that do not fit.
 */
const ACKNOWLEDGEMENTS_AT_ONCE = 100
const ANSWERS_AT_ONCE = 25
/** What the kernel lets a socket send at once, and an acknowledgement's share of the receive buffer. */
const SEND_BYTES = 128 << 10
const ACKNOWLEDGEMENT_BYTES = 1 << 10
/** How often a dump is begun again because the tables changed under it. */
const DUMP_ATTEMPTS = 50

const extAckAttributes = attributeTable('NLMSGERR_ATTR', { msg: [1, string], offs: [2, u32] })

type AnyTable = AttributeTable<Readonly<Record<string, readonly [number, Codec<never> | Codec<unknown>]>>>

/**
 * Every socket's: an answer is decoded, and its bytes copied, before anything else is received. Large buffers of their own
 * would make the runtime collect garbage in the middle of a plugin's run.
 */
const sharedBuffer = allocate(RECEIVE_BYTES)

/** Thrown inside the socket when a datagram did not fit its buffer. */
class TruncatedError extends NetlinkError {}
/** Thrown inside the socket when the kernel marks a dump as inconsistent. */
class InterruptedError extends Error {}

export class NetlinkSocket {
  #fd: number
  #buffer: Uint8Array<ArrayBuffer>
  #sequence = 0

  /**
   * @param options.receiveBytes size of the first receive buffer; it grows when an answer does not fit
   * @throws SysError
   */
  constructor(protocol: number, options: { receiveBytes?: number } = {}) {
    this.#buffer = options.receiveBytes === undefined ? sharedBuffer : allocate(options.receiveBytes)
    this.#fd = check(
      () => 'open netlink socket',
      () => libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol),
    )
    this.#setOption(SOL_NETLINK, NETLINK_EXT_ACK, 1)
    // Acknowledgements need not carry the request again.
    this.#setOption(SOL_NETLINK, NETLINK_CAP_ACK, 1)
    // Without it the kernel ignores the filter of a dump request and sends everything.
    if (protocol === NetlinkProtocol.route) this.#setOption(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    const timeout = allocate(16)
    new DataView(timeout.buffer).setBigInt64(0, BigInt(RECEIVE_TIMEOUT_SECONDS), true)
    check(
      () => 'set netlink receive timeout',
      () => libc.setsockopt(this.#fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length),
    )
    // Port 0 is the kernel: a connected socket takes messages from nobody else, such as a process in the container.
    const kernel = allocate(SOCKADDR_NL_BYTES)
    new DataView(kernel.buffer).setUint16(0, AF_NETLINK, true)
    check(
      () => 'connect netlink socket',
      () => libc.connect(this.#fd, kernel, kernel.length),
    )
  }

  #setOption(level: number, option: number, value: number): void {
    const bytes = allocate(4)
    new DataView(bytes.buffer).setUint32(0, value, true)
    check(
      () => `set netlink option ${option}`,
      () => libc.setsockopt(this.#fd, level, option, bytes, bytes.length),
    )
  }

  /** What still uses it afterwards fails, and does not get whichever file has the number next. */
  close(): void {
    if (this.#fd >= 0) close(this.#fd)
    this.#fd = -1
  }

  /** Sends one request and waits for its acknowledgement. @throws NetlinkError */
  execute(message: Request): void {
    this.executeAll([message])
  }

  /**
   * Sends several requests together and waits for all the acknowledgements. The kernel takes them in order and does not
   * stop at a failure.
   * @throws NetlinkError the first failure, unless it is among `options.expected` errno values
   */
  executeAll(messages: readonly Request[], options: { expected?: readonly number[] } = {}): void {
    const failures = this.tryAll(messages).filter(
      error => error !== undefined && !options.expected?.includes(error.errno),
    )
    if (failures[0] !== undefined) throw failures[0]
  }

  /** As `executeAll`, but returns the failure of each request, or undefined for those that succeeded. */
  tryAll(messages: readonly Request[]): (NetlinkError | undefined)[] {
    if (messages.length === 0) return []
    if (messages.length <= ACKNOWLEDGEMENTS_AT_ONCE) return this.#tryTogether(messages)
    return inParts(messages, ACKNOWLEDGEMENTS_AT_ONCE).flatMap(part => this.#tryTogether(part))
  }

  #tryTogether(messages: readonly Request[]): (NetlinkError | undefined)[] {
    const outcomes: (NetlinkError | undefined)[] = messages.map(() => undefined)
    const first = this.#send(messages, NLM_F.ACK)
    let missing = messages.length
    while (missing > 0) {
      for (const message of this.#receive(messages[0]?.operation ?? '')) {
        const index = message.sequence - first
        const sent = messages[index]
        if (message.type !== NLMSG_ERROR || sent === undefined) continue
        outcomes[index] = decodeError(message, sent.operation)
        missing--
      }
    }
    return outcomes
  }

  /**
   * Sends a netfilter batch in one datagram. Only the last change is to be acknowledged, so that success costs one
   * receive: failures are reported in order and before it. A failure of the whole is reported for `begin`.
   * @throws NetlinkError the first failure
   */
  executeBatch(begin: Request, changes: readonly Request[], end: Request): void {
    const last = changes.at(-1)
    if (last === undefined) return
    const acknowledged = [begin, ...changes.slice(0, -1), { ...last, flags: last.flags | NLM_F.ACK }]
    if (changes.length > ACKNOWLEDGEMENTS_AT_ONCE)
      this.#setOption(SOL_SOCKET, SO_RCVBUFFORCE, changes.length * ACKNOWLEDGEMENT_BYTES)
    const first = this.#send([...acknowledged, end], 0)
    for (;;) {
      for (const message of this.#receive(begin.operation)) {
        const index = message.sequence - first
        const sent = acknowledged[index]
        if (message.type !== NLMSG_ERROR || sent === undefined) continue
        const error = decodeError(message, sent.operation)
        if (error !== undefined) throw error
        // A newer kernel acknowledges the beginning too, if asked.
        if (index === acknowledged.length - 1) return
      }
    }
  }

  /** Sends a GET request for one object; undefined when there is none (ENODEV, ENOENT, ESRCH). @throws NetlinkError */
  get<H, T extends AnyTable>(format: MessageFormat<H, T>, message: Request): Answer<H, T> | undefined {
    return this.getAll(format, [message])[0]
  }

  /**
   * Sends several GET requests for one object each together; undefined, in its place, for those that are not there.
   * @throws NetlinkError
   */
  getAll<H, T extends AnyTable>(
    format: MessageFormat<H, T>,
    messages: readonly Request[],
  ): (Answer<H, T> | undefined)[] {
    if (messages.length === 0) return []
    if (messages.length <= ANSWERS_AT_ONCE) return this.#getTogether(format, messages)
    return inParts(messages, ANSWERS_AT_ONCE).flatMap(part => this.#getTogether(format, part))
  }

  #getTogether<H, T extends AnyTable>(
    format: MessageFormat<H, T>,
    messages: readonly Request[],
  ): (Answer<H, T> | undefined)[] {
    const answers: (Answer<H, T> | undefined)[] = messages.map(() => undefined)
    const first = this.#send(messages, 0)
    let failure: NetlinkError | undefined
    for (let missing = messages.length; missing > 0; ) {
      for (const received of this.#receive(messages[0]?.operation ?? '')) {
        const index = received.sequence - first
        const sent = messages[index]
        if (sent === undefined) continue
        missing--
        if (received.type !== NLMSG_ERROR) answers[index] = decodeAnswer(format, received)
        else failure ??= unlessMissing(decodeError(received, sent.operation))
      }
    }
    if (failure !== undefined) throw failure
    return answers
  }

  /**
   * Sends a dump request and returns all the answers. A dump that the kernel marks as interrupted by a change is begun
   * again, and is an error after many attempts; it is never returned in part.
   * @throws NetlinkError
   */
  dump<H, T extends AnyTable>(format: MessageFormat<H, T>, message: Request): Answer<H, T>[] {
    return this.mapDump(format, message, answer => answer)
  }

  /**
   * As `dump`, but keeps what is made of each answer, for tables of many thousands.
   * @param convert gives undefined for what is to be left out
   */
  mapDump<H, T extends AnyTable, R>(
    format: MessageFormat<H, T>,
    message: Request,
    convert: (answer: Answer<H, T>) => R | undefined,
  ): R[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      try {
        return this.#dumpOnce(format, message, convert)
      } catch (error) {
        if (error instanceof TruncatedError) this.#buffer = allocate(this.#buffer.length * 4)
        else if (!(error instanceof InterruptedError)) throw error
      }
    }
    throw new NetlinkError(`${message.operation}: tables changed during ${DUMP_ATTEMPTS} dumps`, Errno.EAGAIN)
  }

  #dumpOnce<H, T extends AnyTable, R>(
    format: MessageFormat<H, T>,
    message: Request,
    convert: (answer: Answer<H, T>) => R | undefined,
  ): R[] {
    const answers: R[] = []
    const sequence = this.#send([message], NLM_F.DUMP)
    let [running, interrupted] = [true, false]
    try {
      while (running) {
        for (const received of this.#receive(message.operation)) {
          if (received.sequence !== sequence) continue
          if (received.flags & NLM_F.DUMP_INTR) interrupted = true
          if (received.type === NLMSG_ERROR || received.type === NLMSG_DONE) {
            running = false
            const error = decodeError(received, message.operation)
            if (error !== undefined) throw error
          } else {
            const kept = convert(decodeAnswer(format, received))
            if (kept !== undefined) answers.push(kept)
          }
        }
      }
    } finally {
      if (running) this.#discard(message.operation)
    }
    if (interrupted) throw new InterruptedError()
    return answers
  }

  /** Takes what is left of a dump: until then the kernel refuses another one. */
  #discard(operation: string): void {
    const receive = () => libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT)
    // The kernel writes the next part before it returns from handing out the one before.
    while (attempt([Errno.EAGAIN], () => operation, receive) >= 0);
  }

  /** Sends the requests with consecutive sequence numbers and returns the first of these. */
  #send(messages: readonly Request[], flags: number): number {
    const writer = new ByteWriter()
    const first = this.#sequence + 1
    for (const message of messages)
      encodeRequest(writer, { ...message, flags: message.flags | flags }, ++this.#sequence)
    const bytes = writer.finish()
    if (bytes.length > SEND_BYTES) this.#setOption(SOL_SOCKET, SO_SNDBUFFORCE, bytes.length)
    check(
      () => messages[0]?.operation ?? 'send',
      () => libc.send(this.#fd, bytes, bytes.length, 0),
    )
    return first
  }

  #receive(operation: string): ReceivedMessage[] {
    let length: number
    try {
      length = check(
        () => operation,
        () => libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_TRUNC),
      )
    } catch (error) {
      if (error instanceof SysError)
        throw new NetlinkError(operation, error.errno, { message: 'no answer from the kernel' })
      throw error
    }
    // With MSG_TRUNC the call returns the datagram's true length.
    if (length > this.#buffer.length)
      throw new TruncatedError(operation, Errno.EMSGSIZE, { message: `answer of ${length} bytes` })
    return messagesOf(this.#buffer.subarray(0, length))
  }
}

function inParts<T>(items: readonly T[], size: number): (readonly T[])[] {
  const parts: (readonly T[])[] = []
  for (let start = 0; start < items.length; start += size) parts.push(items.slice(start, start + size))
  return parts
}

/** An answer to a GET request: that there is no such object is not a failure. */
function unlessMissing(error: NetlinkError | undefined): NetlinkError | undefined {
  const { ENODEV, ENOENT, ESRCH } = Errno
  return error !== undefined && [ENODEV, ENOENT, ESRCH].includes(error.errno) ? undefined : error
}

/** Reads an acknowledgement or the end of a dump: undefined means success. */
function decodeError(message: ReceivedMessage, operation: string): NetlinkError | undefined {
  const errno = message.payload.remaining >= 4 ? -message.payload.i32() : 0
  if (errno === 0) return undefined
  if ((message.flags & NLM_F.ACK_TLVS) === 0) return new NetlinkError(operation, errno)
  if (message.type === NLMSG_ERROR) {
    // The header of the request, and all of it unless NLM_F_CAPPED says that it was left out.
    const requestLength = message.payload.u32()
    message.payload.slice(message.flags & NLM_F.CAPPED ? 12 : requestLength - 4)
    message.payload.align(4)
  }
  const extAck = decodeAttributes(message.payload, extAckAttributes)
  return new NetlinkError(operation, errno, { message: extAck.msg, offset: extAck.offs })
}
