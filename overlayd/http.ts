/** /metrics and /health for this host's own monitoring, on a loopback address. */

import { createServer, type Server } from 'node:http'
import type { Registry } from 'prom-client'
import type { ListenAddress } from './settings.ts'

/** What is not well; nothing when all is. */
export type Health = () => readonly string[]

export class MonitoringServer {
  readonly #server: Server
  readonly #listen: ListenAddress

  constructor(listen: ListenAddress, registry: Registry, health: Health) {
    this.#listen = listen
    this.#server = createServer((request, response) => {
      const reply = (status: number, type: string, text: string) =>
        response.writeHead(status, { 'content-type': type }).end(text)
      if (request.method !== 'GET') reply(405, 'text/plain', 'GET only\n')
      else if (request.url === '/health') {
        const problems = health()
        const status = problems.length === 0 ? 'ok' : 'degraded'
        reply(problems.length === 0 ? 200 : 503, 'application/json', `${JSON.stringify({ status, problems })}\n`)
      } else if (request.url === '/metrics') {
        registry.metrics().then(
          text => reply(200, registry.contentType, text),
          error => reply(500, 'text/plain', `${error}\n`),
        )
      } else reply(404, 'text/plain', '/metrics and /health are here\n')
    })
  }

  /** @throws Error EADDRINUSE for example */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#listen.port, this.#listen.address, resolve)
    })
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
