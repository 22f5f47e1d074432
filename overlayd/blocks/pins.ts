/**
 * Addresses asked for by name that lie in another node's block. The node that wants one writes a pin; the node that has the
 * block keeps the address for it, or says who has it; the pin goes when the address is given back.
 */

import type { HeldBlocks } from '../../ipam/cluster/state-files.ts'
import { parseAddress } from '../../lib/address/address.ts'
import { type Prefix, parsePrefix, prefixContains } from '../../lib/address/prefix.ts'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import type { BlockRequest } from '../../lib/overlay/agent-protocol.ts'
import type { Entry } from '../etcd/store.ts'
import type { Log } from '../log.ts'
import { NetworkFiles, networksIn } from './network-files.ts'
import {
  type Alone,
  addressOfPinKey,
  type BlockRecord,
  type BlockStore,
  blockKey,
  blockLeaseKey,
  type PinRecord,
  pinKey,
  pinsPrefix,
  unchanged,
} from './records.ts'

export interface PinOptions {
  readonly node: string
  readonly store: BlockStore
  readonly dataDirectory: string
  readonly log: Log
  readonly alone: Alone
  /** How long to wait for the other node. */
  readonly patienceMs: number
}

const LOOK_AGAIN_MS = 100

/**
 * The name under which a network's addresses are lent, one thing at a time: no network's own, because two nodes that ask each
 * other for an address have to answer while they wait.
 */
export const lending = (network: string): string => `lending ${network}`

export class Pins {
  readonly #options: PinOptions

  constructor(options: PinOptions) {
    this.#options = options
  }

  /**
   * Asks the node that has the block for the address, and notes it as borrowed.
   * @returns false when the block is another node's by now
   * @throws CniError 103 when the address is taken, 11 when the node does not answer
   */
  async borrow(request: BlockRequest, address: string, block: Entry<BlockRecord>): Promise<boolean> {
    const { node, store, patienceMs } = this.#options
    const { pool, network, containerId, ifname } = request
    const key = pinKey(pool, address)
    const mine: PinRecord = { node, network, containerId, ifname, state: 'asked' }
    for (let deadline = Date.now() + patienceMs; ; await pause(LOOK_AGAIN_MS)) {
      const isLate = Date.now() >= deadline
      const pin = await store.get<PinRecord>(key)
      if (pin === undefined) {
        if (request.look) return true
        const conditions = [{ key, revision: 0 }, unchanged(block), { key: blockLeaseKey(node), exists: true as const }]
        if (!(await store.transaction(conditions, [{ put: key, value: mine }])).succeeded) return false
      } else if (pin.value.node !== node || pin.value.network !== network) {
        if (await this.#removeDead(pin)) continue
        if (isLate) throw taken(address, `${pin.value.containerId} ${pin.value.ifname} on node ${pin.value.node}`)
      } else if (pin.value.state === 'granted') {
        this.#noteBorrowed(request, address)
        return true
      } else if (pin.value.state === 'refused') {
        await store.transaction([unchanged(pin)], [{ delete: key }])
        throw taken(address, pin.value.reason ?? `node ${block.value.node}`)
      } else if (isLate && (await store.transaction([unchanged(pin)], [{ delete: key }])).succeeded) {
        throw new CniError(
          ErrorCode.tryAgainLater,
          `address ${address} is in a block of node "${block.value.node}", which does not answer`,
          'overlayd of that node has to agree; when the node is dead, its block is free once its lease has run out',
        )
      }
    }
  }

  #noteBorrowed({ pool, network, rangeSets, coolDownSeconds }: BlockRequest, address: string): void {
    const { node, dataDirectory } = this.#options
    const files = new NetworkFiles(dataDirectory, network)
    files.change(held => {
      // Of an earlier time that it was borrowed: it would say that the address is not needed any more.
      files.removeMarks(files.used().filter(({ text }) => text === address))
      return {
        version: 1,
        pool,
        node,
        blocks: held?.blocks ?? [],
        borrowed: [...(held?.borrowed ?? []).filter(other => other !== address), address],
        rangeSets,
        coolDownSeconds,
      }
    })
  }

  /** Addresses of a block that other nodes have. */
  async lentIn(pool: string, block: Prefix): Promise<string[]> {
    const { entries } = await this.#options.store.list<PinRecord>(`${pinsPrefix}${pool}/`)
    return lent(entries, pool, block)
  }

  /** Answers what other nodes ask of this one. */
  async answer(pins: Iterable<Entry<PinRecord>>): Promise<void> {
    for (const pin of pins) {
      if (pin.value.state !== 'asked') continue
      const { pool, address } = addressOfPinKey(pin.key)
      for (const { files, prefix } of this.#holders(pool, address))
        await this.#options.alone(lending(files.network), () => this.#answerOne(pin, files, pool, prefix))
    }
  }

  async #answerOne(pin: Entry<PinRecord>, files: NetworkFiles, pool: string, prefix: string): Promise<void> {
    const { node, store, log } = this.#options
    const { address } = addressOfPinKey(pin.key)
    const block = parsePrefix(prefix)
    if (block === undefined) return
    const record = await store.get<BlockRecord>(blockKey(pool, block))
    if (record?.value.node !== node || record.value.network !== files.network) return
    let [isHeld, holder]: [boolean, string | undefined] = [false, undefined]
    files.change(held => {
      isHeld = held?.blocks.some(one => one.prefix === prefix) ?? false
      holder = files.holderOf(address)
      return isHeld && holder === undefined && held !== undefined ? withLent(held, prefix, address) : held
    })
    // Given back meanwhile: who takes the block next answers.
    if (!isHeld) return
    const answer: PinRecord =
      holder === undefined
        ? { ...pin.value, state: 'granted' }
        : { ...pin.value, state: 'refused', reason: `${holder} on node ${node}` }
    const conditions = [unchanged(pin), unchanged(record)]
    const { succeeded } = await store.transaction(conditions, [{ put: pin.key, value: answer }])
    if (succeeded) log.info('answered for an address', { pool, address, to: pin.value.node, answer: answer.state })
    else await this.#settle(pin.key, files, prefix)
  }

  /** Makes what this node has lent what the pin says, after it has changed or gone. */
  async settle(key: string): Promise<void> {
    const { pool, address } = addressOfPinKey(key)
    for (const { files, prefix } of this.#holders(pool, address))
      await this.#options.alone(lending(files.network), () => this.#settle(key, files, prefix))
  }

  async #settle(key: string, files: NetworkFiles, prefix: string): Promise<void> {
    const { address } = addressOfPinKey(key)
    const pin = await this.#options.store.get<PinRecord>(key)
    if (pin?.value.state === 'granted') return
    files.change(held => {
      if (held === undefined || !held.blocks.some(({ lent }) => lent.includes(address))) return held
      // It was used elsewhere until now: the cool-down begins.
      files.markReleased(address)
      return withoutLent(held, prefix, address)
    })
  }

  /** Networks of this node with a block in which the address lies. */
  #holders(pool: string, text: string): { files: NetworkFiles; prefix: string }[] {
    const { dataDirectory } = this.#options
    const address = parseAddress(text)
    return networksIn(dataDirectory).flatMap(network => {
      const files = new NetworkFiles(dataDirectory, network)
      const held = files.read()
      const block = held?.blocks.find(({ prefix }) => {
        const parsed = parsePrefix(prefix)
        return address !== undefined && parsed !== undefined && prefixContains(parsed, address)
      })
      return held?.pool === pool && block !== undefined ? [{ files, prefix: block.prefix }] : []
    })
  }

  /**
   * Puts right what a crash or a lost connection has left: pins of dead nodes, pins of this node that nothing here uses, and
   * what this node has lent without a pin.
   */
  async sweep(pins: ReadonlyMap<string, Entry<PinRecord>>): Promise<void> {
    const { node, dataDirectory, alone } = this.#options
    for (const pin of pins.values()) {
      const { pool, address } = addressOfPinKey(pin.key)
      if (pin.value.node === node) await alone(pin.value.network, () => this.#removeUnused(pin.key))
      else if (this.#holders(pool, address).length > 0) await this.#removeDead(pin)
    }
    for (const network of networksIn(dataDirectory)) {
      const held = new NetworkFiles(dataDirectory, network).read()
      for (const address of held?.blocks.flatMap(block => block.lent) ?? []) {
        const key = pinKey(held?.pool ?? '', address)
        if (pins.get(key)?.value.state !== 'granted') await this.settle(key)
      }
    }
  }

  /** To be run alone: nobody waits for the pin now. */
  async #removeUnused(key: string): Promise<void> {
    const { node, store, dataDirectory } = this.#options
    const pin = await store.get<PinRecord>(key)
    if (pin?.value.node !== node) return
    const held = new NetworkFiles(dataDirectory, pin.value.network).read()
    const { pool, address } = addressOfPinKey(key)
    if (held?.pool === pool && held.borrowed.includes(address)) return
    await store.transaction([unchanged(pin)], [{ delete: key }])
  }

  async #removeDead(pin: Entry<PinRecord>): Promise<boolean> {
    const { store, log } = this.#options
    const conditions = [unchanged(pin), { key: blockLeaseKey(pin.value.node), revision: 0 }]
    const { succeeded } = await store.transaction(conditions, [{ delete: pin.key }])
    if (succeeded) log.warn('removed the pin of a dead node', { pin: pin.key, node: pin.value.node })
    return succeeded
  }
}

/** Addresses of a block that pins keep for other nodes. */
export function lent(pins: readonly Entry<PinRecord>[], pool: string, block: Prefix): string[] {
  return pins.flatMap(({ key, value }) => {
    const named = addressOfPinKey(key)
    const address = parseAddress(named.address)
    const isLent = named.pool === pool && value.state === 'granted' && address && prefixContains(block, address)
    return isLent ? [named.address] : []
  })
}

function withLent(held: HeldBlocks, prefix: string, address: string): HeldBlocks {
  return changeLent(held, prefix, lentOnes => [...lentOnes.filter(other => other !== address), address])
}

function withoutLent(held: HeldBlocks, prefix: string, address: string): HeldBlocks {
  return changeLent(held, prefix, lentOnes => lentOnes.filter(other => other !== address))
}

function changeLent(held: HeldBlocks, prefix: string, change: (lent: readonly string[]) => string[]): HeldBlocks {
  const blocks = held.blocks.map(block => (block.prefix === prefix ? { ...block, lent: change(block.lent) } : block))
  return { ...held, blocks }
}

function taken(address: string, holder: string): CniError {
  return new CniError(
    ErrorCode.addressInUse,
    `requested IP address ${address} is taken by ${holder}`,
    'delete that attachment first, or ask for another address, or for none',
  )
}

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds))
}
