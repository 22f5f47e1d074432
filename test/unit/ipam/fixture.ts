/** A network directory of its own for a test, and requests to host-local as lib/cni makes them. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostLocal } from '../../../ipam/host-local/plugin.ts'
import { CniError } from '../../../lib/cni/errors.ts'
import type { AttachmentRequest, Command } from '../../../lib/cni/types.ts'
import { type RuntimeGiven, requestOf } from './request.ts'

export interface RequestOptions extends RuntimeGiven {
  readonly ipam?: Readonly<Record<string, unknown>>
  readonly config?: Readonly<Record<string, unknown>>
}

export const smallRange = { subnet: '10.1.0.0/29' }

export class NetworkDirectory {
  readonly dataDir: string
  readonly path: string
  #ipam: Readonly<Record<string, unknown>>

  /** @param dataDir default: a new one, removed in the end */
  constructor(
    teardown: (clean: () => void) => void,
    ipam: Readonly<Record<string, unknown>> = smallRange,
    dataDir = mkdtempSync(join(tmpdir(), 'cnikit-ipam-')),
  ) {
    this.dataDir = dataDir
    this.path = join(this.dataDir, 'net')
    this.#ipam = ipam
    teardown(() => rmSync(this.dataDir, { recursive: true, force: true }))
  }

  request(command: Command, containerId: string, options: RequestOptions = {}): AttachmentRequest {
    const ipam = { type: 'host-local', dataDir: this.dataDir, ...(options.ipam ?? this.#ipam) }
    return requestOf(command, containerId, { ipam, ...options.config }, options)
  }

  /** The addresses that ADD gives. */
  add(containerId: string, options: RequestOptions = {}): string[] {
    const { ips = [] } = hostLocal.add(this.request('ADD', containerId, options))
    return ips.map(({ address }) => address.replace(/\/.*/, ''))
  }

  del(containerId: string, options: RequestOptions = {}): void {
    hostLocal.del(this.request('DEL', containerId, options))
  }

  check(containerId: string, options: RequestOptions = {}): void {
    hostLocal.check(this.request('CHECK', containerId, options))
  }

  /** @param valid "id ifname"; undefined leaves the list out */
  gc(valid: readonly string[] | undefined, options: RequestOptions = {}): void {
    const validAttachments = valid?.map(text => {
      const [containerId = '', ifname = ''] = text.split(' ')
      return { containerId, ifname }
    })
    hostLocal.gc({ ...this.request('GC', '', options), validAttachments })
  }

  status(options: RequestOptions = {}): void {
    hostLocal.status(this.request('STATUS', '', options))
  }

  /** Address files with their content, as "id ifname"; the plugin's own files left out. */
  taken(): Record<string, string> {
    const names = readdirSync(this.path).filter(name => !/^(lock|\.index|last_reserved_ip\..*)$/.test(name))
    return Object.fromEntries(names.toSorted().map(name => [name, this.read(name).replace('\r\n', ' ')]))
  }

  read(name: string): string {
    return readFileSync(join(this.path, name), 'utf8')
  }

  write(name: string, content: string): void {
    writeFileSync(join(this.path, name), content)
  }
}

/** The error that a call ends with. */
export function errorOf(call: () => unknown): CniError {
  try {
    call()
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('there was no error')
}
