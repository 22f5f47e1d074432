/** No moment of death loses an address, hands one out twice or blocks one for ever. */

import { cpSync, existsSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { NetworkDirectory } from './fixture.ts'
import { killAt } from './killed.ts'
import { asAfterReboot } from './reboot.ts'

const ipam = { ranges: [[{ subnet: '10.1.0.0/28' }], [{ subnet: 'fd00::/124' }]] }
const addressesInAPool = 13

/** Owners of the two pools' addresses, torn files left out. */
function owners(net: NetworkDirectory): Map<string, string[]> {
  const byOwner = new Map<string, string[]>()
  for (const [address, owner] of Object.entries(existsSync(net.path) ? net.taken() : {}))
    if (owner !== '') byOwner.set(owner, [...(byOwner.get(owner) ?? []), address])
  return byOwner
}

/** What must hold after any death: everybody has what he had, and all addresses can be given out. */
function faultAfter(net: NetworkDirectory, survivors: readonly string[], victim: string): string | undefined {
  const before = owners(net)
  for (const id of survivors) {
    if (before.get(`${id} eth0`)?.length !== 2) return `${id} has lost an address`
    if (net.add(id).toSorted().join() !== before.get(`${id} eth0`)?.toSorted().join()) return `${id} gets others`
    net.check(id)
  }
  const again = net.add(victim)
  if (net.add(victim).join() !== again.join()) return 'the victim gets others each time'
  if (owners(net).get(`${victim} eth0`)?.length !== 2) return 'the victim has more than one address of a pool'
  net.del(victim)
  if (owners(net).has(`${victim} eth0`)) return 'DEL leaves something'
  const free = addressesInAPool - survivors.length
  const handedOut = new Set(survivors.flatMap(id => net.add(id)))
  for (let number = 0; number < free; number++)
    for (const address of net.add(`new${number}`)) {
      if (handedOut.has(address)) return `${address} is handed out twice`
      handedOut.add(address)
    }
  net.gc([])
  const left = readdirSync(net.path).filter(name => !/^(lock|\.index(\.new)?|last_reserved_ip\.[01])$/.test(name))
  return left.length === 0 ? undefined : `left over: ${left.join(', ')}`
}

interface Scene {
  readonly title: string
  /** Made before; the survivors must be untouched by the death. */
  readonly survivors: readonly string[]
  readonly prepare?: (net: NetworkDirectory) => void
  readonly run: (net: NetworkDirectory) => void
}

const scenes: readonly Scene[] = [
  { title: 'the first ADD of a network', survivors: [], run: net => net.add('v') },
  { title: 'ADD beside others', survivors: ['a', 'b'], run: net => net.add('v') },
  {
    title: 'ADD after somebody else has changed the directory',
    survivors: ['a', 'b'],
    prepare: net => net.write('10.1.0.9', 'g\r\neth0'),
    run: net => {
      net.add('v')
      net.del('g')
    },
  },
  {
    title: 'ADD in place of a torn file',
    survivors: ['a'],
    prepare: net => net.write('10.1.0.3', ''),
    run: net => net.add('v'),
  },
  { title: 'ADD of what is there already', survivors: ['a'], prepare: net => net.add('v'), run: net => net.add('v') },
  { title: 'DEL', survivors: ['a', 'b'], prepare: net => net.add('v'), run: net => net.del('v') },
  {
    title: 'GC',
    survivors: ['a', 'b'],
    prepare: net => {
      for (const id of ['v', 'w', 'x']) net.add(id)
    },
    run: net => net.gc(['a eth0', 'b eth0', 'v eth0']),
  },
  {
    title: 'ADD that reclaims addresses of an earlier boot',
    survivors: [],
    prepare: net => {
      const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm']
      for (const id of ids) net.add(id)
      asAfterReboot(net, ids)
    },
    run: net => net.add('v'),
  },
]

for (const { title, survivors, prepare, run } of scenes) {
  for (const how of ['before', 'torn'] as const) {
    t.test(`${title}, killed ${how === 'before' ? 'between any two changes' : 'with any write torn'}`, async t => {
      let call = 1
      for (; ; call++) {
        const net = new NetworkDirectory(t.teardown, ipam)
        for (const id of survivors) net.add(id)
        prepare?.(net)
        const wasKilled = killAt(call, how, () => run(net))
        const gone = ['w', 'x', 'g']
        const fault = (() => {
          for (const id of gone) if (existsSync(net.path)) net.del(id)
          if (title.includes('earlier boot')) net.gc(['v eth0'])
          return faultAfter(net, survivors, 'v')
        })()
        t.equal(fault, undefined, `killed at call ${call}`)
        rmSync(net.dataDir, { recursive: true })
        if (!wasKilled) break
      }
      t.ok(call > 2, 'there were moments to die in')
    })
  }
}

t.test('an index of an earlier boot, torn by a power failure at any page, harms nobody', async t => {
  const net = new NetworkDirectory(t.teardown, ipam)
  for (const id of ['a', 'b']) net.add(id)
  asAfterReboot(net, ['a', 'b'])
  for (const length of [0, 1, 63, 64, 4095, 4096, 4097, 8191]) {
    const copy = new NetworkDirectory(t.teardown, ipam)
    cpSync(net.path, copy.path, { recursive: true, preserveTimestamps: true })
    truncateSync(join(copy.path, '.index'), length)
    t.equal(faultAfter(copy, ['a', 'b'], 'v'), undefined, `${length} bytes of it`)
  }
})
