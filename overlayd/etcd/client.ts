/**
 * etcd's cluster: calls go to one member and, when that one fails, to the next. Tokens are fetched and renewed here.
 */

import { Channel, type OpenStream, type StreamHandlers, type TlsFiles } from './channel.ts'
import { EtcdError, Status } from './errors.ts'
import { authenticate, type Call } from './rpc.ts'

export interface EtcdOptions {
  /** https://192.0.2.1:2379, ... */
  readonly endpoints: readonly string[]
  readonly tls: TlsFiles
  readonly username?: string | undefined
  readonly password?: string | undefined
}

/** One member's time to answer. etcd itself gives up after seven seconds when its leader dies under a request. */
const ATTEMPT_MS = 2_000
/** All the attempts together: long enough for the election of a leader. */
const TOTAL_MS = 8_000
const PAUSE_MS = 100

export class EtcdClient {
  readonly #channels: readonly Channel[]
  readonly #options: EtcdOptions
  #current = 0
  #token: string | undefined
  #closed = false

  constructor(options: EtcdOptions) {
    if (options.endpoints.length === 0) throw new RangeError('no endpoints of etcd')
    this.#options = options
    this.#channels = options.endpoints.map(endpoint => new Channel(endpoint, options.tls))
  }

  close(): void {
    this.#closed = true
    for (const channel of this.#channels) channel.close()
  }

  /** The member that calls go to. */
  get endpoint(): string {
    return this.#channel.endpoint
  }

  get #channel(): Channel {
    const channel = this.#channels[this.#current]
    if (channel === undefined) throw new RangeError(`no member ${this.#current}`)
    return channel
  }

  /**
   * One question, one answer. What fails in passing is tried again, with the next member: a change whose answer was
   * lost may thus be made twice, so it must be conditional.
   * @param totalMs how long to go on trying
   * @throws EtcdError the last failure
   */
  async ask<Q, A>(call: Call<Q, A>, request: Q, totalMs = TOTAL_MS): Promise<A> {
    const deadline = Date.now() + totalMs
    let renewed = false
    for (;;) {
      const channel = this.#channel
      try {
        const token = await this.#authenticate(channel)
        const timeoutMs = Math.max(1, Math.min(ATTEMPT_MS, Math.floor(deadline - Date.now())))
        return await channel.ask(call, request, { token, timeoutMs })
      } catch (error) {
        if (!(error instanceof EtcdError) || this.#closed) throw error
        if (error.staleToken && this.#options.username !== undefined && !renewed) {
          renewed = true
          this.#token = undefined
          continue
        }
        if (!error.passing) throw error
        // Also when there is no time left: the next call need not find out again that the member is away.
        this.leave(channel)
        if (Date.now() + PAUSE_MS >= deadline) throw error
        await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
      }
    }
  }

  /** A question whose answers come as they arise. A lost stream is the caller's to open again. */
  async stream<Q, A>(call: Call<Q, A>, request: Q, handlers: StreamHandlers<A>): Promise<OpenStream> {
    const channel = this.#channel
    const token = await this.#authenticate(channel)
    return channel.stream(call, request, token, {
      answer: handlers.answer,
      ended: error => {
        if (error.staleToken) this.#token = undefined
        else if (error.passing && error.status !== Status.cancelled) this.leave(channel)
        handlers.ended(error)
      },
    })
  }

  /** Gives up a member's connection, which may be dead without anybody saying so, and goes on with the next one. */
  leave(channel: Channel = this.#channel): void {
    channel.close()
    if (channel === this.#channel) this.#current = (this.#current + 1) % this.#channels.length
  }

  async #authenticate(channel: Channel): Promise<string | undefined> {
    const { username, password = '' } = this.#options
    if (username === undefined || this.#token !== undefined) return this.#token
    const { token } = await channel.ask(authenticate, { name: username, password }, { timeoutMs: ATTEMPT_MS })
    this.#token = token
    return token
  }
}
