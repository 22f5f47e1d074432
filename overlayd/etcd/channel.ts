/**
 * gRPC over one HTTP/2 connection to one member of etcd, as much of it as etcd's calls need.
 *
 * The public clients were measured and left: under Bun grpc-js cannot connect with TLS to a member that is named by its
 * address, and etcd's JSON gateway refuses client certificates once authentication is on.
 *
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */

import { type ClientHttp2Session, type ClientHttp2Stream, connect, type SecureClientSessionOptions } from 'node:http2'
import { EtcdError, Status } from './errors.ts'
import type { Call } from './rpc.ts'

/** Contents of PEM files. */
export interface TlsFiles {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

/** What a stream of answers calls. `ended` is called once, last, whatever ends it. */
export interface StreamHandlers<A> {
  answer(answer: A): void
  ended(error: EtcdError): void
}

export interface OpenStream {
  /** @param reason why, as etcd's last answer tells it; a stale token is told from the others by it */
  close(reason?: string): void
}

const CONNECT_TIMEOUT_MS = 2_000
/** gRPC's prefix of a message: compressed or not, length. */
const PREFIX_BYTES = 5

export class Channel {
  readonly endpoint: string
  readonly #options: SecureClientSessionOptions
  #session: ClientHttp2Session | undefined

  constructor(endpoint: string, tls: TlsFiles) {
    this.endpoint = endpoint
    this.#options = { ...tls, settings: { enablePush: false, initialWindowSize: 1 << 20 } }
  }

  /** Calls that run fail; the next one connects again. */
  close(): void {
    this.#session?.destroy()
    this.#session = undefined
  }

  /** One question, one answer. @throws EtcdError */
  ask<Q, A>(call: Call<Q, A>, request: Q, options: { token?: string | undefined; timeoutMs: number }): Promise<A> {
    return new Promise((resolve, reject) => {
      let received: A | undefined
      const stream = this.#open(
        call,
        { 'grpc-timeout': `${options.timeoutMs}m`, ...authorization(options.token) },
        {
          answer: answer => {
            received = answer
          },
          ended: error => {
            clearTimeout(timer)
            if (error.status === Status.ok && received !== undefined) resolve(received)
            else reject(error)
          },
        },
      )
      const timer = setTimeout(
        () => stream.fail(Status.deadlineExceeded, `no answer within ${options.timeoutMs} ms`),
        options.timeoutMs,
      )
      stream.write(request)
      stream.end()
    })
  }

  /**
   * A question whose answers come as they arise. etcd is told to end it when its member has no leader, so that a member
   * that is cut off from the others does not just fall silent.
   */
  stream<Q, A>(call: Call<Q, A>, request: Q, token: string | undefined, handlers: StreamHandlers<A>): OpenStream {
    const stream = this.#open(call, { hasleader: 'true', ...authorization(token) }, handlers)
    stream.write(request)
    return { close: (reason = 'closed') => stream.fail(Status.cancelled, reason) }
  }

  #open<Q, A>(call: Call<Q, A>, headers: Readonly<Record<string, string>>, handlers: StreamHandlers<A>) {
    let stream: ClientHttp2Stream | undefined
    let over = false
    const end = (status: number, reason: string) => {
      if (over) return
      over = true
      stream?.close()
      handlers.ended(new EtcdError(this.endpoint, status, reason))
    }
    try {
      const session = this.#connect()
      stream = session.request({
        ':method': 'POST',
        ':path': call.path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...headers,
      })
      this.#receive(call, stream, handlers, end)
    } catch (error) {
      // Told later, as every failure is: the caller has not got the stream yet.
      setImmediate(() => end(Status.unavailable, reasonOf(error)))
    }
    return {
      write: (request: Q) => stream?.write(framed(call.request.encode(request))),
      end: () => stream?.end(),
      fail: end,
    }
  }

  #receive<A>(
    call: Call<never, A>,
    stream: ClientHttp2Stream,
    handlers: StreamHandlers<A>,
    end: (status: number, reason: string) => void,
  ): void {
    const messages = new MessageReader()
    const finish = (headers: Readonly<Record<string, unknown>>) => {
      const status = headers['grpc-status']
      if (status === undefined) return
      // The last data may still wait to be handed out.
      setImmediate(() => end(Number(status), decodeURIComponent(String(headers['grpc-message'] ?? 'ended'))))
    }
    stream.on('response', headers => {
      if (headers[':status'] === 200) finish(headers)
      else end(Status.unavailable, `HTTP status ${String(headers[':status'])}: not etcd's gRPC port`)
    })
    stream.on('trailers', finish)
    stream.on('data', (data: Buffer) => {
      try {
        for (const message of messages.push(data)) handlers.answer(call.answer.decode(message))
      } catch (error) {
        end(Status.unknown, reasonOf(error))
      }
    })
    stream.on('error', error => end(Status.unavailable, reasonOf(error)))
    stream.on('close', () => setImmediate(() => end(Status.unavailable, 'the connection was lost')))
  }

  #connect(): ClientHttp2Session {
    const open = this.#session
    if (open !== undefined && !open.closed && !open.destroyed) return open
    const session = connect(this.endpoint, this.#options)
    this.#session = session
    const timer = setTimeout(
      () => session.destroy(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`)),
      CONNECT_TIMEOUT_MS,
    )
    session.once('connect', () => clearTimeout(timer))
    session.once('close', () => {
      clearTimeout(timer)
      if (this.#session === session) this.#session = undefined
    })
    // Every call that runs hears of it too; without a listener it would end the process.
    session.on('error', () => session.destroy())
    session.on('goaway', () => {
      if (this.#session === session) this.#session = undefined
    })
    return session
  }
}

function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { token }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' && !error.message.includes(error.code)
    ? `${error.code}: ${error.message}`
    : error.message
}

function framed(data: Buffer): Buffer {
  const frame = Buffer.alloc(PREFIX_BYTES + data.length)
  frame.writeUInt32BE(data.length, 1)
  data.copy(frame, PREFIX_BYTES)
  return frame
}

/** Puts the messages of a stream together again. */
class MessageReader {
  #parts: Buffer[] = []
  #length = 0

  push(data: Buffer): Buffer[] {
    this.#parts.push(data)
    this.#length += data.length
    const messages: Buffer[] = []
    while (this.#length >= PREFIX_BYTES) {
      // Joined only when the message is whole: a large one comes in hundreds of parts.
      const wanted = PREFIX_BYTES + this.#announced()
      if (this.#length < wanted) break
      const whole = this.#join()
      if (whole[0] !== 0) throw new RangeError('gRPC: a compressed message, which was not asked for')
      messages.push(whole.subarray(PREFIX_BYTES, wanted))
      this.#parts = wanted === whole.length ? [] : [whole.subarray(wanted)]
      this.#length = whole.length - wanted
    }
    return messages
  }

  #announced(): number {
    const [first] = this.#parts
    return (first !== undefined && first.length >= PREFIX_BYTES ? first : this.#join()).readUInt32BE(1)
  }

  #join(): Buffer {
    const [first] = this.#parts
    const whole = this.#parts.length === 1 && first !== undefined ? first : Buffer.concat(this.#parts)
    this.#parts = [whole]
    return whole
  }
}
