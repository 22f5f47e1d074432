/** Traffic between namespaces: a server that tells every client which address it came from, and the clients. */

import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Outcome } from './execute.ts'
import type { Host } from './host.ts'
import type { NetworkNamespace } from './namespace.ts'

/** Where a client runs: a namespace, or a container of a runtime. */
export interface Place {
  execute(argv: readonly string[]): Outcome
}

/** The program behind startPeer(), with its port for an argument: for places that only a runtime leads to. */
export const peerProgram = join(dirname(fileURLToPath(import.meta.url)), 'peer-process.js')

/** One server for TCP, UDP and HTTP on one port each; ended with the host. Resolves when it listens. */
export async function startPeer(host: Host, inside: NetworkNamespace, port = 8080): Promise<void> {
  const child = host.start([process.execPath, peerProgram, String(port)], { inside })
  await child.says(/listening/)
}

export type Transport = 'tcp' | 'udp'

/**
 * Sends a line to a peer and gives the answer, "<address it came from> <line>"; undefined when none comes in three
 * seconds or the connection is refused. The HTTP port is the one after.
 */
export function ask(from: Place, transport: Transport, address: string, port = 8080): string | undefined {
  const script = `exec 3<>/dev/${transport}/${address}/${port} && echo hello >&3 && head -n 1 <&3`
  const { status, stdout } = from.execute(['timeout', '3', 'bash', '-c', script])
  return status === 0 ? stdout.trim() : undefined
}

/** An HTTP request to a peer; the answer is as with ask(). */
export function fetchPage(from: Place, address: string, port = 8081): string | undefined {
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${port}/`
  const { status, stdout } = from.execute(['curl', '-sS', '--noproxy', '*', '--max-time', '3', url])
  return status === 0 ? stdout.trim() : undefined
}
