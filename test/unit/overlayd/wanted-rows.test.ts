/** The rows that are kept up to date are those that are found by looking at all endpoints. */

import t, { type Test } from 'tap'
import { type Row, rowsOf } from '../../../lib/overlay/forwarding-tables.ts'
import { type KnownEndpoint, readEndpoint, WantedRows } from '../../../overlayd/wanted-rows.ts'

function generator(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** All of them looked at, in the order in which they were written. */
function allRows(endpoints: Iterable<KnownEndpoint>): Map<string, string> {
  const rows = new Map<string, string>()
  for (const endpoint of [...endpoints].sort((a, b) => a.revision - b.revision))
    for (const { key, content } of rowsOf(endpoint)) rows.set(key, content)
  return rows
}

const sorted = (rows: Iterable<readonly [string, string]>) => [...rows].sort(([a], [b]) => (a < b ? -1 : 1))

function contents(rows: WantedRows): [string, string][] {
  return [...rows.keys()].map(key => [key, rows.get(key) ?? 'none'])
}

/** As the kernel does, and strictly: nothing is removed that is not there, nothing written that is as it was. */
function apply(t: Test, kernel: Map<string, string>, written: readonly Row[], removed: readonly Row[]): void {
  for (const { key, content } of removed) if (kernel.get(key) !== content || !kernel.delete(key)) t.fail(`no ${key}`)
  for (const { key, content } of written) {
    if (kernel.get(key) === content) t.fail(`${key} is written again`)
    kernel.set(key, content)
  }
}

t.test('rows after any changes are those of all endpoints, and the changes lead from one to the other', async t => {
  for (let seed = 1; seed <= 200; seed++) {
    const below = generator(seed)
    const rows = new WantedRows()
    const endpoints = new Map<string, KnownEndpoint>()
    const kernel = new Map<string, string>()
    for (let revision = 1; revision <= 60; revision++) {
      // Few addresses and fewer MACs, so that they meet.
      const address = `10.0.0.${below(6)}`
      const key = `endpoints/web/${address}`
      if (below(3) === 0) {
        endpoints.delete(key)
        rows.delete(key)
      } else {
        const host = `192.0.2.${below(3)}`
        const endpoint = { address, mac: `02:00:00:00:00:0${below(4)}`, host, node: `node-${host}`, revision }
        endpoints.set(key, endpoint)
        rows.put(key, endpoint)
      }
      if (below(4) === 0) {
        const { written, removed } = rows.takeChanges()
        apply(t, kernel, written, removed)
        if (JSON.stringify(sorted(kernel)) !== JSON.stringify(sorted(allRows(endpoints.values()))))
          t.fail(`seed ${seed}, revision ${revision}: the changes lead elsewhere`)
      }
    }
    const wanted = allRows(endpoints.values())
    t.same(sorted(contents(rows)), sorted(wanted), `seed ${seed}`)
    t.equal(rows.size, wanted.size)
    t.same([...rows.hosts()].sort(), [...new Set([...endpoints.values()].map(({ host }) => host))].sort())
    for (const key of endpoints.keys()) rows.delete(key)
    t.same([rows.size, [...rows.hosts()], [...rows.endpoints()]], [0, [], []], 'nothing is left of them')
  }
})

t.test('a change and its undoing are no change', async t => {
  const rows = new WantedRows()
  const endpoint = { address: '10.0.0.2', mac: '02:00:00:00:00:02', host: '192.0.2.1', node: 'one', revision: 1 }
  rows.put('endpoints/web/10.0.0.2', endpoint)
  rows.delete('endpoints/web/10.0.0.2')
  t.same(rows.takeChanges(), { written: [], removed: [] })
  rows.put('endpoints/web/10.0.0.2', endpoint)
  t.equal(rows.takeChanges().written.length, 3)
  rows.put('endpoints/web/10.0.0.2', { ...endpoint, revision: 2 })
  t.same(rows.takeChanges(), { written: [], removed: [] }, 'written again by an agent that was restarted')
})

t.test('an entry of etcd is read in whichever way it is written, and not when it makes no sense', async t => {
  const value = { node: 'one', host: '192.0.2.1', mac: '02-00-00-00-00-AB', containerId: 'c', ifname: 'eth0' }
  const entry = { key: 'endpoints/web/2001:DB8::0:5', value, revision: 7, created: 5, leased: false }
  const meaning = { address: '2001:db8::5', mac: '02:00:00:00:00:ab', host: '192.0.2.1', node: 'one', revision: 7 }
  t.same(readEndpoint(entry), meaning)
  t.equal(readEndpoint({ ...entry, key: 'endpoints/web/nonsense' }), undefined)
  t.equal(readEndpoint({ ...entry, value: { ...value, mac: 'nonsense' } }), undefined)
  t.equal(readEndpoint({ ...entry, value: { ...value, host: '' } }), undefined)
})
