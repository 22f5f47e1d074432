/** Anything that can happen to a cluster, in any order: no address is ever two containers', nor used again too early. */

import fc from 'fast-check'
import t from 'tap'
import { CniError } from '../../../lib/cni/errors.ts'
import { MemoryEtcd } from './memory-store.ts'
import { SimulatedNode } from './simulated-node.ts'

const NODES = 4
/** Four blocks of 8: scarce. */
const ipam = { subnet: '10.1.0.0/27', blockLength: 29 }

const event = fc.record({
  node: fc.integer({ min: 0, max: NODES - 1 }),
  container: fc.integer({ min: 0, max: 5 }),
  address: fc.integer({ min: 2, max: 30 }),
  what: fc.constantFrom(
    'add',
    'add',
    'add',
    'ask',
    'del',
    'del',
    'review',
    'cool',
    'restart',
    'cut',
    'join',
    'die',
    'sweep',
  ),
  atOnce: fc.boolean(),
})

type Happening = typeof event extends fc.Arbitrary<infer T> ? T : never

class World {
  readonly etcd = new MemoryEtcd()
  readonly nodes: readonly SimulatedNode[]
  /** Addresses in use, with who has them. */
  readonly #held = new Map<string, string>()
  /** Addresses that must not be handed out again yet. */
  readonly #cooling = new Set<string>()

  constructor(teardown: (clean: () => void) => void) {
    this.nodes = Array.from(
      { length: NODES },
      (_, index) => new SimulatedNode(teardown, this.etcd, `node-${index + 1}`, { patienceMs: 30, unusedSeconds: 0 }),
    )
  }

  async start(): Promise<void> {
    await Promise.all(this.nodes.map(node => node.start()))
  }

  /** What nobody could do is no fault; that it is done wrongly is. */
  async happen(happening: Happening): Promise<void> {
    const node = this.nodes[happening.node]
    if (node === undefined) return
    try {
      await this.#happen(node, happening)
    } catch (error) {
      if (!(error instanceof CniError)) throw error
    }
  }

  async #happen(node: SimulatedNode, { what, container, address }: Happening): Promise<void> {
    const id = `c${container}`
    if (what === 'add') this.#note(node, id, await node.add(id, { ipam }), false)
    if (what === 'ask') this.#note(node, id, await node.add(id, { ipam, ip: `10.1.0.${address}` }), true)
    if (what === 'del') this.#release(node, id)
    if (what === 'review') await node.agent.review()
    if (what === 'sweep') await node.agent.sweep()
    if (what === 'restart') await node.restart()
    if (what === 'cut') node.store.isConnected = false
    if (what === 'join') {
      node.store.isConnected = true
      await node.agent.renew()
    }
    if (what === 'cool') {
      for (const one of this.nodes) one.age(61)
      this.#cooling.clear()
    }
    if (what === 'die') {
      // Its containers die with it, and its lease runs out.
      for (const owner of node.taken().values()) this.#release(node, owner)
      node.store.isConnected = false
      node.forgetLease()
      this.etcd.expire(`block-leases/${node.name}`)
      this.#cooling.clear()
      for (const one of this.nodes) one.age(61)
    }
  }

  #note(node: SimulatedNode, id: string, given: readonly string[], isAsked: boolean): void {
    for (const address of given) {
      const owner = `${id} on ${node.name}`
      const holder = this.#held.get(address)
      if (holder !== undefined && holder !== owner)
        throw new Error(`${address} is ${holder}'s, and was given to ${owner}`)
      if (holder === undefined && !isAsked && this.#cooling.has(address))
        throw new Error(`${address} was used again too early`)
      this.#held.set(address, owner)
    }
  }

  #release(node: SimulatedNode, id: string): void {
    // Before: it may be given to another at once.
    for (const [address, owner] of this.#held) {
      if (owner !== `${id} on ${node.name}`) continue
      this.#held.delete(address)
      this.#cooling.add(address)
    }
    node.del(id)
  }

  /** When all is well again, files and etcd agree and all addresses but those in use can be had. */
  async settle(): Promise<void> {
    for (const node of this.nodes) {
      node.store.isConnected = true
      await node.restart()
      for (const owner of node.taken().values()) this.#release(node, owner)
    }
    for (let round = 0; round < 6; round++) {
      for (const node of this.nodes) {
        node.age(61)
        await node.agent.review()
        await node.agent.sweep()
      }
    }
    const inEtcd = this.etcd.keys('blocks/net/').map(key => `${this.etcd.value<{ node: string }>(key)?.node} ${key}`)
    const inFiles = this.nodes.flatMap(node =>
      node.blocks().map(block => `${node.name} blocks/net/${block.replace('/', '-')}`),
    )
    if (inEtcd.toSorted().join() !== inFiles.toSorted().join())
      throw new Error(`etcd says ${inEtcd.toSorted().join()}, the files ${inFiles.toSorted().join()}`)
    const lent = this.nodes.flatMap(node => node.held()?.blocks.flatMap(block => block.lent) ?? [])
    const pins = this.etcd.keys('pins/')
    if (lent.length + pins.length > 0) throw new Error(`left over: lent ${lent.join()}, pins ${pins.join()}`)
  }
}

t.test('whatever happens, in turn or at once', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 10, maxLength: 60 }), async happenings => {
      const cleaning: (() => void)[] = []
      try {
        const world = new World(clean => cleaning.push(clean))
        await world.start()
        let running: Promise<void>[] = []
        for (const happening of happenings) {
          // What changes the world for others happens by itself.
          const isAlone = !happening.atOnce || !['add', 'review', 'sweep'].includes(happening.what)
          if (isAlone) await Promise.all(running)
          if (isAlone) running = []
          const run = world.happen(happening)
          if (isAlone) await run
          else running.push(run)
        }
        await Promise.all(running)
        await world.settle()
      } finally {
        for (const clean of cleaning) clean()
      }
    }),
    { numRuns: Number(process.env.CNIKIT_MODEL_RUNS ?? 20) },
  )
  t.pass('no address twice, none too early, nothing left over')
})
