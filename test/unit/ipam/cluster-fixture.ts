/** A node with a data directory of its own, and an overlayd that exists in this process only. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { currentBoot } from '../../../ipam/allocator/index/stamp.ts'
import { withState } from '../../../ipam/allocator/state.ts'
import { clusterPlugin } from '../../../ipam/cluster/plugin.ts'
import type { HeldBlocks } from '../../../ipam/cluster/state-files.ts'
import {
  addressDirectory,
  readHeldBlocks,
  writeBlockLease,
  writeHeldBlocks,
} from '../../../ipam/cluster/state-files.ts'
import { CniError, ErrorCode } from '../../../lib/cni/errors.ts'
import type { AttachmentRequest, Command } from '../../../lib/cni/types.ts'
import type { BlockAnswer, BlockRequest } from '../../../lib/overlay/agent-protocol.ts'
import { bootTimeSeconds } from '../../../lib/sys/clock.ts'
import type { RequestOptions } from './fixture.ts'
import { requestOf } from './request.ts'

export const smallPool = { subnet: '10.1.0.0/26', blockLength: 29 }

/** Hands out the blocks that it was given, in their order. */
export class FakeAgent {
  /** Blocks that are left. */
  blocks: string[]
  /** What it was asked. */
  readonly requests: BlockRequest[] = []
  /** Answers with this error, if any. */
  failure: CniError | undefined
  readonly #dataDirectory: string

  constructor(dataDirectory: string, blocks: readonly string[]) {
    this.#dataDirectory = dataDirectory
    this.blocks = [...blocks]
  }

  answer(request: BlockRequest): BlockAnswer {
    this.requests.push(request)
    if (this.failure !== undefined) throw this.failure
    const block = this.blocks[0]
    if (block === undefined)
      throw new CniError(ErrorCode.poolExhausted, `pool "${request.pool}" is exhausted`, 'node-2 has all')
    if (request.look) return { held: block }
    this.blocks.shift()
    const { pool, rangeSets, coolDownSeconds } = request
    this.change(request.network, held => ({
      ...held,
      pool,
      rangeSets,
      coolDownSeconds,
      blocks: [...held.blocks, { prefix: block, lent: [] }],
    }))
    return { held: block }
  }

  /** Writes blocks.json as the agent does. */
  change(network: string, change: (held: HeldBlocks) => HeldBlocks): void {
    const directory = addressDirectory(this.#dataDirectory, network)
    mkdirSync(directory, { recursive: true })
    const nothing = {
      version: 1,
      pool: network,
      node: 'node-1',
      blocks: [],
      borrowed: [],
      rangeSets: [],
      coolDownSeconds: 60,
    } as const
    withState(directory, 'change', () =>
      writeHeldBlocks(
        this.#dataDirectory,
        network,
        change(readHeldBlocks(this.#dataDirectory, network) ?? { ...nothing }),
      ),
    )
  }

  /** @param seconds from now */
  lease(seconds: number): void {
    mkdirSync(this.#dataDirectory, { recursive: true })
    const boot = currentBoot()
    if (boot === undefined) throw new Error('/proc does not tell the boot')
    writeBlockLease(this.#dataDirectory, { version: 1, node: 'node-1', boot, expires: bootTimeSeconds() + seconds })
  }
}

/** One network on a node. */
export class ClusterNode {
  readonly dataDir: string
  readonly agent: FakeAgent
  readonly #ipam: Readonly<Record<string, unknown>>
  readonly #plugin

  constructor(
    teardown: (clean: () => void) => void,
    blocks: readonly string[] = ['10.1.0.0/29', '10.1.0.8/29'],
    ipam: Readonly<Record<string, unknown>> = smallPool,
  ) {
    this.dataDir = mkdtempSync(join(tmpdir(), 'cnikit-cluster-'))
    teardown(() => rmSync(this.dataDir, { recursive: true, force: true }))
    this.#ipam = ipam
    this.agent = new FakeAgent(this.dataDir, blocks)
    this.agent.lease(600)
    this.#plugin = clusterPlugin((_, request) => this.agent.answer(request))
  }

  request(command: Command, containerId: string, options: RequestOptions = {}): AttachmentRequest {
    const ipam = { type: 'cluster', dataDir: this.dataDir, ...this.#ipam, ...options.ipam }
    return requestOf(command, containerId, { ipam, ...options.config }, options)
  }

  /** The addresses that ADD gives, without their prefix lengths. */
  add(containerId: string, options: RequestOptions = {}): string[] {
    const { ips = [] } = this.result(containerId, options)
    return ips.map(({ address }) => address.replace(/\/.*/, ''))
  }

  result(containerId: string, options: RequestOptions = {}) {
    return this.#plugin.add(this.request('ADD', containerId, options))
  }

  del(containerId: string, options: RequestOptions = {}): void {
    this.#plugin.del(this.request('DEL', containerId, options))
  }

  check(containerId: string, address: string): void {
    const prevResult = { ips: [{ address }] }
    this.#plugin.check(this.request('CHECK', containerId, { prevResult }))
  }

  gc(valid: readonly string[] | undefined): void {
    const validAttachments = valid?.map(containerId => ({ containerId, ifname: 'eth0' }))
    this.#plugin.gc({ ...this.request('GC', ''), validAttachments })
  }

  status(options: RequestOptions = {}): void {
    this.#plugin.status(this.request('STATUS', '', options))
  }

  get addresses(): string {
    return addressDirectory(this.dataDir, 'net')
  }

  /** Address files with their content, as "id ifname"; "" for one that was given back. */
  files(): Record<string, string> {
    const names = readdirSync(this.addresses).filter(
      name => !/^(lock|\.index(\.new)?|last_reserved_ip\..*)$/.test(name),
    )
    return Object.fromEntries(names.toSorted().map(name => [name, this.read(name).replace('\r\n', ' ')]))
  }

  read(name: string): string {
    return readFileSync(join(this.addresses, name), 'utf8')
  }

  write(name: string, content: string): void {
    writeFileSync(join(this.addresses, name), content)
  }

  /** As if so much time had passed since an address was given back. */
  age(address: string, seconds: number): void {
    const then = Date.now() / 1000 - seconds
    utimesSync(join(this.addresses, address), then, then)
  }
}
