/** Releases that could not be made at once: DEL succeeds without agent and without etcd, and what it released waits here. */

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spoolPath } from '../lib/overlay/agent-client.ts'
import { type AgentAttachment, SPOOL_DIRECTORY } from '../lib/overlay/agent-protocol.ts'
import type { Log } from './log.ts'
import { checkAttachment } from './requests.ts'

export class Spool {
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  get size(): number {
    return this.#files().length
  }

  add({ network, containerId, ifname }: AgentAttachment): void {
    const path = spoolPath({ network, containerId, ifname })
    mkdirSync(SPOOL_DIRECTORY, { recursive: true, mode: 0o700 })
    const temporary = `${path}.overlayd.tmp`
    writeFileSync(temporary, `${JSON.stringify({ network, containerId, ifname })}\n`, { mode: 0o600 })
    renameSync(temporary, path)
  }

  /** Whether a release of the attachment waits. */
  has(attachment: AgentAttachment): boolean {
    return this.#read(spoolPath(attachment)) !== undefined
  }

  /** The release was made. */
  remove(attachment: AgentAttachment): void {
    rmSync(spoolPath(attachment), { force: true })
  }

  /** All that wait. What is no release is removed. */
  list(): AgentAttachment[] {
    return this.#files().flatMap(name => {
      const path = join(SPOOL_DIRECTORY, name)
      const attachment = this.#read(path)
      if (attachment === undefined) return []
      try {
        checkAttachment(attachment)
        return [attachment]
      } catch (error) {
        this.#log.error('a file in the spool is no release and is removed', { path, error })
        rmSync(path, { force: true })
        return []
      }
    })
  }

  #files(): string[] {
    try {
      return readdirSync(SPOOL_DIRECTORY).filter(name => name.endsWith('.json'))
    } catch {
      return []
    }
  }

  /** Undefined for one that is gone; an empty attachment for what is no JSON. */
  #read(path: string): AgentAttachment | undefined {
    try {
      const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
      return typeof value === 'object' && value !== null ? (value as AgentAttachment) : nothing
    } catch (error) {
      return error instanceof SyntaxError ? nothing : undefined
    }
  }
}

const nothing: AgentAttachment = { network: '', containerId: '', ifname: '' }
