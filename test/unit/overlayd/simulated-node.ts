/** A node of a cluster in this process: the plugin, its files, and the agent's part that looks after the blocks. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clusterPlugin } from '../../../ipam/cluster/plugin.ts'
import { addressDirectory, type HeldBlocks, readBlockLease, readHeldBlocks } from '../../../ipam/cluster/state-files.ts'
import type { AttachmentRequest } from '../../../lib/cni/types.ts'
import type { BlockRequest } from '../../../lib/overlay/agent-protocol.ts'
import { AddressBlocks, type AddressBlocksOptions } from '../../../overlayd/blocks/address-blocks.ts'
import { requestOf } from '../ipam/request.ts'
import { type MemoryEtcd, type MemoryStore, silent } from './memory-store.ts'

/** The plugin is synchronous and the agent is not: the plugin stops here, and is run again with the agent's answer. */
class Asks extends Error {
  readonly request: BlockRequest

  constructor(request: BlockRequest) {
    super('the agent is asked')
    this.request = request
  }
}

export const ipam = { subnet: '10.1.0.0/24', blockLength: 29 }

export interface AddOptions {
  readonly ip?: string
  readonly ipam?: Readonly<Record<string, unknown>>
  readonly network?: string
}

export class SimulatedNode {
  readonly name: string
  readonly dataDir: string
  readonly store: MemoryStore
  #agent: AddressBlocks
  readonly #options: Partial<AddressBlocksOptions>
  readonly #plugin = clusterPlugin((_, request) => {
    throw new Asks(request)
  })

  constructor(
    teardown: (clean: () => void) => void,
    etcd: MemoryEtcd,
    name: string,
    options: Partial<AddressBlocksOptions> = {},
  ) {
    this.name = name
    this.store = etcd.connect()
    this.dataDir = mkdtempSync(join(tmpdir(), 'cnikit-node-'))
    this.#options = options
    this.#agent = this.#newAgent()
    teardown(() => {
      this.#agent.stop()
      rmSync(this.dataDir, { recursive: true, force: true })
    })
  }

  #newAgent(): AddressBlocks {
    return new AddressBlocks({
      node: this.name,
      store: this.store,
      log: silent,
      dataDirectory: this.dataDir,
      deadAfterSeconds: 600,
      leaseAhead: 2, // never, unless a test wants it
      idleSeconds: 0,
      patienceMs: 400,
      ...this.#options,
    })
  }

  get agent(): AddressBlocks {
    return this.#agent
  }

  start(): Promise<void> {
    return this.#agent.start()
  }

  /** The agent ends without a word, and another is started. */
  async restart(): Promise<void> {
    this.#agent.stop()
    this.#agent = this.#newAgent()
    await this.start()
  }

  async add(containerId: string, options: AddOptions = {}): Promise<string[]> {
    for (let asked = 0; ; asked++) {
      if (asked === 30) throw new Error(`${this.name} asks again and again for ${containerId}`)
      try {
        const { ips = [] } = this.#plugin.add(this.#request('ADD', containerId, options))
        return ips.map(({ address }) => address.replace(/\/.*/, ''))
      } catch (error) {
        if (!(error instanceof Asks)) throw error
        await this.#agent.block(error.request)
      }
    }
  }

  del(containerId: string, options: AddOptions = {}): void {
    this.#plugin.del(this.#request('DEL', containerId, options))
  }

  #request(command: 'ADD' | 'DEL', containerId: string, options: AddOptions): AttachmentRequest {
    const keys = {
      name: options.network ?? 'net',
      ipam: { type: 'cluster', ...ipam, dataDir: this.dataDir, ...options.ipam },
    }
    return requestOf(command, containerId, keys, options.ip === undefined ? {} : { args: { IP: options.ip } })
  }

  held(network = 'net'): HeldBlocks | undefined {
    return readHeldBlocks(this.dataDir, network)
  }

  blocks(network = 'net'): string[] {
    return (this.held(network)?.blocks ?? []).map(({ prefix }) => prefix)
  }

  /** As if the node had been without etcd until its lease ran out. */
  forgetLease(): void {
    const path = join(this.dataDir, '.lease')
    if (readBlockLease(this.dataDir) !== undefined) unlinkSync(path)
  }

  /** Addresses in use, with their containers. */
  taken(network = 'net'): Map<string, string> {
    const directory = addressDirectory(this.dataDir, network)
    const names = existsSync(directory) ? readdirSync(directory).filter(name => /^[0-9a-f.:]+$/.test(name)) : []
    const contents = names.map(
      name => [name, readFileSync(join(directory, name), 'utf8').split('\r\n')[0] ?? ''] as const,
    )
    return new Map(contents.filter(([, content]) => content !== ''))
  }

  /** As if so long had passed since the addresses were given back. */
  age(seconds: number, network = 'net'): void {
    const directory = addressDirectory(this.dataDir, network)
    if (!existsSync(directory)) return
    const then = Date.now() / 1000 - seconds
    for (const name of readdirSync(directory))
      if (/^[0-9a-f.:]+$/.test(name)) utimesSync(join(directory, name), then, then)
    // The agent looks again when the directory has changed, or after a while.
    utimesSync(directory, Date.now() / 1000, Date.now() / 1000)
  }
}
