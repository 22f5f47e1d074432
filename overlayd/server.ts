/** The unix socket at which plugins and cnictl ask: one line of JSON each way, one request per connection. */

import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import { toCniError } from '../lib/cni/failure.ts'
import {
  AGENT_PROTOCOL_VERSION,
  type AgentAnswer,
  type AgentRequest,
  type AgentVerb,
  type AnswerLine,
} from '../lib/overlay/agent-protocol.ts'
import { close, O, open } from '../lib/sys/file.ts'
import { LockTimeoutError, lockDescriptor } from '../lib/sys/lock.ts'
import { type PeerCredentials, peerCredentials } from '../lib/sys/peer-credentials.ts'
import type { Log } from './log.ts'
import type { OverlayMetrics } from './metrics.ts'

type Handler = (request: never) => Promise<unknown>

/** A list of valid attachments of a full host is some hundred kilobytes. */
const REQUEST_BYTES = 4 << 20
/** For a plugin to say what it wants. */
const REQUEST_TIMEOUT_MS = 5_000

export class AgentServer {
  readonly #path: string
  readonly #log: Log
  readonly #metrics: OverlayMetrics
  readonly #handlers = new Map<string, Handler>()
  readonly #running = new Set<Promise<void>>()
  #server: Server | undefined
  #lock: number | undefined

  constructor(path: string, log: Log, metrics: OverlayMetrics) {
    this.#path = path
    this.#log = log
    this.#metrics = metrics
  }

  serve<V extends AgentVerb>(verb: V, handler: (request: AgentRequest<V>) => Promise<AgentAnswer<V>>): void {
    this.#handlers.set(verb, handler)
  }

  /** Makes sure that this is the only agent at the socket, for as long as it lives. @throws CniError code 104 */
  lock(): void {
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o755 })
    const path = `${this.#path}.lock`
    const fd = open(path, O.RDWR | O.CREAT, 0o600)
    try {
      lockDescriptor(fd, path, { timeoutMs: 0 })
    } catch (error) {
      close(fd)
      if (!(error instanceof LockTimeoutError)) throw error
      throw new CniError(ErrorCode.conflict, `another overlayd has ${JSON.stringify(this.#path)}`, 'stop it first')
    }
    this.#lock = fd
  }

  /** @throws Error when the socket cannot be made */
  async listen(): Promise<void> {
    // Left behind by an agent that was killed: the lock says that none is there.
    rmSync(this.#path, { force: true })
    const server = createServer({ allowHalfOpen: true }, socket => this.#accept(socket))
    this.#server = server
    const umask = process.umask(0o177)
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(this.#path, resolve)
      })
    } finally {
      process.umask(umask)
    }
    chmodSync(this.#path, 0o600)
  }

  /** Takes no more requests and ends those that run. */
  async close(): Promise<void> {
    const server = this.#server
    if (server !== undefined) {
      const closed = new Promise(resolve => server.close(resolve))
      rmSync(this.#path, { force: true })
      await Promise.all(this.#running)
      await closed
    }
    if (this.#lock !== undefined) close(this.#lock)
  }

  #accept(socket: Socket): void {
    socket.on('error', error => this.#log.debug('a plugin has gone away', { error }))
    const peer = peerOf(socket)
    if (peer === undefined || peer.uid !== 0) {
      this.#log.warn('a request by somebody else than root is refused', { peer })
      socket.destroy()
      return
    }
    let text = ''
    socket.setEncoding('utf8')
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy())
    socket.on('data', (part: string) => {
      text += part
      const end = text.indexOf('\n')
      if (end < 0 && text.length <= REQUEST_BYTES) return
      socket.removeAllListeners('data')
      socket.resume()
      socket.setTimeout(0)
      const work = this.#answer(end < 0 ? '' : text.slice(0, end)).then(answer => {
        socket.end(`${JSON.stringify(answer)}\n`)
      })
      this.#running.add(work)
      void work.finally(() => this.#running.delete(work))
    })
  }

  async #answer(line: string): Promise<AnswerLine> {
    const started = performance.now()
    let verb = 'unknown'
    let code = 0
    try {
      const request = parseRequest(line)
      const handler = this.#handlers.get(request.verb)
      if (handler === undefined)
        throw new CniError(ErrorCode.decodeFailure, `overlayd knows no verb ${JSON.stringify(request.verb)}`, update)
      verb = request.verb
      const { version: _, verb: __, ...rest } = request
      return { answer: await handler(rest as never) }
    } catch (error) {
      const { code: number, message, details } = toCniError(error)
      code = number
      this.#log.warn('request failed', { verb, code, error: number === ErrorCode.internal ? error : message })
      return { error: { code, msg: message, ...(details === undefined ? {} : { details }) } }
    } finally {
      this.#metrics.requestSeconds.observe({ verb, code: String(code) }, (performance.now() - started) / 1000)
    }
  }
}

const update = 'plugins and agent must be of the same version'

function parseRequest(line: string): { verb: string; version: number } {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new CniError(ErrorCode.decodeFailure, 'overlayd was asked something that is no line of JSON', update)
  }
  if (typeof value !== 'object' || value === null || !('verb' in value) || !('version' in value))
    throw new CniError(ErrorCode.decodeFailure, 'overlayd was asked without "version" and "verb"', update)
  if (value.version !== AGENT_PROTOCOL_VERSION)
    throw new CniError(
      ErrorCode.decodeFailure,
      `overlayd speaks version ${AGENT_PROTOCOL_VERSION} of the protocol, not ${String(value.version)}`,
      update,
    )
  return { ...value, verb: String(value.verb), version: AGENT_PROTOCOL_VERSION }
}

/** Node and Bun both keep the descriptor there, and nowhere else. */
function peerOf(socket: Socket): PeerCredentials | undefined {
  const handle: unknown = (socket as unknown as { readonly _handle?: unknown })._handle
  if (typeof handle !== 'object' || handle === null || !('fd' in handle) || typeof handle.fd !== 'number')
    return undefined
  return handle.fd < 0 ? undefined : peerCredentials(handle.fd)
}
