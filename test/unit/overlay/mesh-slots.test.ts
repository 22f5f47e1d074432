/** Which replica a slot leads to. */

import fc from 'fast-check'
import t from 'tap'
import { fillSlots, slotRanges, slotsFor } from '../../../lib/overlay/mesh/slots.ts'

const names = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_, index) => `10.255.${(index + first) >> 8}.${(index + first) & 255}`)
const replicaSets = fc.uniqueArray(fc.ipV4(), { minLength: 1, maxLength: 40 })
const seeds = fc.string({ minLength: 1, maxLength: 12 })

t.test('every slot leads to a replica, and shares differ by one at most', async t => {
  fc.assert(
    fc.property(seeds, replicaSets, fc.constantFrom(16, 128), (seed, replicas, count) => {
      const shares = replicas.map(() => 0)
      for (const replica of fillSlots(seed, replicas, count)) shares[replica] = (shares[replica] ?? 0) + 1
      return shares.reduce((sum, share) => sum + share, 0) === count && Math.max(...shares) - Math.min(...shares) <= 1
    }),
  )
  t.pass('held')
})

t.test('hosts that know the same replicas fill the slots alike, in whichever order they heard of them', async t => {
  fc.assert(
    fc.property(seeds, replicaSets, (seed, replicas) => {
      const reversed = replicas.toReversed()
      const one = [...fillSlots(seed, replicas, 128)].map(index => replicas[index])
      const other = [...fillSlots(seed, reversed, 128)].map(index => reversed[index])
      return one.join() === other.join()
    }),
  )
  t.pass('held')
})

t.test('when a replica leaves, most slots of the others stay', async t => {
  for (const count of [3, 5, 10, 30]) {
    const all = names(count)
    const before = [...fillSlots('web', all, 128)].map(index => all[index])
    let moved = 0
    for (const gone of all) {
      const left = all.filter(name => name !== gone)
      const after = [...fillSlots('web', left, 128)].map(index => left[index])
      moved += before.filter((name, slot) => name !== gone && name !== after[slot]).length
    }
    const average = moved / count / 128
    t.ok(average < 0.2, `${count} replicas: ${(average * 100).toFixed(1)} % of all slots change hands needlessly`)
  }
})

t.test('services with the same replicas are filled apart from each other', async t => {
  const replicas = names(4)
  t.notSame([...fillSlots('web', replicas, 128)], [...fillSlots('api', replicas, 128)])
})

t.test('a service has four slots for each replica, as long as there are so many', async t => {
  for (const affinity of ['none', 'client'] as const) {
    for (const [replicas, count] of [
      [0, 16],
      [1, 16],
      [4, 16],
      [5, 128],
      [32, 128],
      [33, 1024],
      [256, 1024],
      [5000, 1024],
    ] as const)
      t.equal(slotsFor(affinity, replicas).count, count, `${replicas} replicas`)
  }
})

t.test('no two ways of picking share a slot: all are in one map', async t => {
  const ranges = Object.values(slotRanges).flat()
  for (const [index, { first, count }] of ranges.entries())
    for (const other of ranges.slice(index + 1))
      t.ok(first + count <= other.first || other.first + other.count <= first, `${first} and ${other.first}`)
})

t.test('without replicas there are no slots; with more than slots the last have none', async t => {
  t.equal(fillSlots('web', [], 16).length, 0)
  const slots = fillSlots('web', names(20), 16)
  t.equal(new Set(slots).size, 16)
})
