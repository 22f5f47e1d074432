/** host-local against a simple model, with a Go plugin and people working in the same directory. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { CniError } from '../../../lib/cni/errors.ts'
import { NetworkDirectory } from './fixture.ts'
import { asAfterReboot } from './reboot.ts'

const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
const pools = {
  '10.1.0.': ['10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.5', '10.1.0.6'],
  'fd00::': ['fd00::2', 'fd00::3'],
}
const ipam = { ranges: [[{ subnet: '10.1.0.0/29' }], [{ subnet: 'fd00::/126' }]] }

/** What the model knows: owners by address, and which of them are of an earlier boot. */
class Model {
  owners = new Map<string, string>()
  dead = new Set<string>()

  held(owner: string): string[] {
    return [...this.owners].filter(([, holder]) => holder === owner).map(([address]) => address)
  }

  heldIn(owner: string, pool: string): string | undefined {
    return this.held(owner).find(address => address.startsWith(pool))
  }

  free(pool: keyof typeof pools): string[] {
    return pools[pool].filter(address => !this.owners.has(address))
  }

  release(address: string): void {
    this.owners.delete(address)
    this.dead.delete(address)
  }

  set(address: string, owner: string): void {
    this.owners.set(address, owner)
    this.dead.delete(address)
  }
}

type Real = NetworkDirectory

/** Compares the files with the model; torn files are free addresses. */
function compare(model: Model, net: Real): void {
  const files = existsSync(net.path) ? Object.entries(net.taken()) : []
  const found = files.filter(([address, owner]) => owner.trim() !== '' && /^[0-9a-f.:]+$/.test(address))
  const text = (entries: Iterable<readonly [string, string]>) => JSON.stringify([...entries].toSorted())
  if (text(found) !== text(model.owners)) throw new Error(`files ${text(found)}, model ${text(model.owners)}`)
}

class Add implements fc.Command<Model, Real> {
  readonly id: string
  readonly requested: string | undefined
  constructor(id: string, requested: string | undefined) {
    this.id = id
    this.requested = requested
  }
  check = () => true
  run(model: Model, net: Real): void {
    const owner = `${this.id} eth0`
    const isConflict = this.#isConflict(model, owner)
    const isDry = Object.keys(pools).some(
      pool =>
        model.heldIn(owner, pool) === undefined &&
        !this.requested?.startsWith(pool) &&
        model.free(pool as keyof typeof pools).length === 0 &&
        !pools[pool as keyof typeof pools].some(address => model.dead.has(address)),
    )
    let given: string[] | undefined
    try {
      given = net.add(this.id, this.requested === undefined ? {} : { args: { IP: this.requested } })
    } catch (error) {
      if (!(error instanceof CniError) || ![102, 103, 104].includes(error.code)) throw error
      if (!isConflict && !isDry) throw error
    }
    if (given !== undefined && (isConflict || isDry)) throw new Error(`${owner} is given ${given}`)
    this.#forgetReclaimed(model, net, given)
    for (const address of given ?? []) {
      if (model.owners.has(address) && model.owners.get(address) !== owner) throw new Error(`${address} given twice`)
      model.set(address, owner)
    }
    if (given !== undefined && given.join() !== model.held(owner).toSorted().join()) throw new Error('not what it held')
    compare(model, net)
  }
  #isConflict(model: Model, owner: string): boolean {
    if (this.requested === undefined) return false
    const pool = this.requested.startsWith('10.') ? '10.1.0.' : 'fd00::'
    const held = model.heldIn(owner, pool)
    if (held !== undefined) return held !== this.requested
    return model.owners.has(this.requested) && !model.dead.has(this.requested)
  }
  /** Which of the dead are reclaimed is left to the plugin; never one of the living. */
  #forgetReclaimed(model: Model, net: Real, given: readonly string[] | undefined): void {
    for (const address of [...model.dead]) {
      const path = join(net.path, address)
      const content = existsSync(path) ? readFileSync(path, 'utf8').replace('\r\n', ' ') : undefined
      if (content !== model.owners.get(address)) model.release(address)
    }
    for (const address of given ?? []) model.dead.delete(address)
  }
  toString = () => `ADD ${this.id} ${this.requested ?? ''}`
}

/** A change that is as easily said of the model as of the directory. */
class Change implements fc.Command<Model, Real> {
  readonly title: string
  readonly onBoth: (model: Model, net: Real) => void
  constructor(title: string, onBoth: (model: Model, net: Real) => void) {
    this.title = title
    this.onBoth = onBoth
  }
  check = () => true
  run(model: Model, net: Real): void {
    mkdirSync(net.path, { recursive: true })
    this.onBoth(model, net)
    compare(model, net)
  }
  toString = () => this.title
}

const id = fc.constantFrom(...ids)
const address = fc.constantFrom(...pools['10.1.0.'], ...pools['fd00::'])

const del = id.map(
  name =>
    new Change(`DEL ${name}`, (model, net) => {
      net.del(name)
      for (const held of model.held(`${name} eth0`)) model.release(held)
    }),
)

const gc = fc.subarray(ids).map(
  valid =>
    new Change(`GC ${valid}`, (model, net) => {
      net.gc(valid.map(name => `${name} eth0`))
      for (const [held, owner] of [...model.owners])
        if (!valid.includes(owner.replace(' eth0', ''))) model.release(held)
    }),
)

const check = id.map(
  name =>
    new Change(`CHECK ${name}`, (model, net) => {
      const isComplete = model.held(`${name} eth0`).length === 2
      try {
        net.check(name)
        if (!isComplete) throw new Error('CHECK is content')
      } catch (error) {
        if (!(error instanceof CniError) || isComplete) throw error
      }
    }),
)

const goAdd = fc.tuple(id, address).map(
  ([name, wanted]) =>
    new Change(`Go ADD ${name} ${wanted}`, (model, net) => {
      if (model.owners.has(wanted) || model.heldIn(`${name} eth0`, wanted.slice(0, 4))) return
      // A file that was not written whole is in the Go plugin's way.
      if (existsSync(join(net.path, wanted))) return
      writeFileSync(join(net.path, wanted), `${name}\r\neth0`, { flag: 'wx' })
      model.set(wanted, `${name} eth0`)
    }),
)

const goDel = id.map(
  name =>
    new Change(`Go DEL ${name}`, (model, net) => {
      for (const held of model.held(`${name} eth0`)) {
        rmSync(join(net.path, held))
        model.release(held)
      }
    }),
)

const torn = address.map(
  name =>
    new Change(`torn ${name}`, (model, net) => {
      if (!model.owners.has(name)) writeFileSync(join(net.path, name), '')
    }),
)

const damage = fc.tuple(fc.nat(8191), fc.integer({ min: 1, max: 255 })).map(
  ([offset, mask]) =>
    new Change('damaged index', (_, net) => {
      const path = join(net.path, '.index')
      if (!existsSync(path)) return
      const bytes = readFileSync(path)
      if (bytes.length === 0) return
      bytes[offset % bytes.length] = (bytes[offset % bytes.length] ?? 0) ^ mask
      writeFileSync(path, bytes)
    }),
)

const lost = fc
  .constantFrom('.index', 'last_reserved_ip.0', 'last_reserved_ip.1', 'lock')
  .map(name => new Change(`lost ${name}`, (_, net) => rmSync(join(net.path, name), { force: true })))

const reboot = fc.subarray(ids, { minLength: 1 }).map(
  names =>
    new Change(`reboot, known: ${names}`, (model, net) => {
      asAfterReboot(net, names)
      for (const name of names) for (const held of model.held(`${name} eth0`)) model.dead.add(held)
    }),
)

const garbageWithoutList = fc.constant(
  new Change('GC without a list', (model, net) => {
    net.gc(undefined)
    // A damaged or lost index has forgotten some of the dead, who then stay; compare() finds whoever else is gone.
    const files = new Set(readdirSync(net.path))
    for (const dead of [...model.dead]) if (!files.has(dead)) model.release(dead)
  }),
)

t.test("any order of requests, of a Go plugin's doings and of mishaps leaves what the model says", async t => {
  const add = fc
    .tuple(id, fc.option(address, { nil: undefined, freq: 4 }))
    .map(([name, wanted]) => new Add(name, wanted))
  const orderly = [add, add, add, del, gc, check, goAdd, goDel, torn, reboot, garbageWithoutList]
  fc.assert(
    fc.property(fc.commands(orderly, { maxCommands: 60 }), commands => {
      const net = new NetworkDirectory(() => {}, ipam)
      try {
        fc.modelRun(() => ({ model: new Model(), real: net }), commands)
      } finally {
        rmSync(net.dataDir, { recursive: true })
      }
    }),
    { numRuns: 150 },
  )
  t.pass('as the model')
})

t.test('a damaged or lost index changes nothing of that, but for what is known of earlier boots', async t => {
  const add = fc
    .tuple(id, fc.option(address, { nil: undefined, freq: 4 }))
    .map(([name, wanted]) => new Add(name, wanted))
  const rough = [add, add, add, del, gc, check, goAdd, goDel, torn, damage, damage, lost]
  fc.assert(
    fc.property(fc.commands(rough, { maxCommands: 60 }), commands => {
      const net = new NetworkDirectory(() => {}, ipam)
      try {
        fc.modelRun(() => ({ model: new Model(), real: net }), commands)
      } finally {
        rmSync(net.dataDir, { recursive: true })
      }
    }),
    { numRuns: 150 },
  )
  t.pass('as the model')
})
