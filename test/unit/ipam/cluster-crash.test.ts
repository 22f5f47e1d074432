/** With a cool-down too, no moment of death loses an address, hands one out twice or early, or blocks one for ever. */

import t from 'tap'
import { ClusterNode, smallPool } from './cluster-fixture.ts'
import { errorOf } from './fixture.ts'
import { killAt } from './killed.ts'

interface Scene {
  readonly title: string
  readonly prepare?: (node: ClusterNode) => void
  readonly run: (node: ClusterNode) => void
}

const scenes: readonly Scene[] = [
  { title: 'ADD', run: node => node.add('v') },
  {
    title: 'ADD of an address that has cooled down',
    prepare: node => {
      for (const id of ['v', 'w', 'x', 'y']) node.add(id)
      for (const id of ['v', 'w', 'x', 'y']) node.del(id)
      for (const last of [4, 5, 6, 7]) node.age(`10.1.0.${last}`, 61)
    },
    run: node => node.add('v'),
  },
  { title: 'DEL', prepare: node => node.add('v'), run: node => node.del('v') },
  {
    title: 'GC',
    prepare: node => {
      for (const id of ['v', 'w', 'x']) node.add(id)
      node.del('w')
      node.age('10.1.0.5', 61)
    },
    run: node => node.gc(['a', 'b']),
  },
]

for (const { title, prepare, run } of scenes) {
  for (const how of ['before', 'torn'] as const) {
    t.test(`${title}, ${how === 'torn' ? 'a power failure' : 'killed'}`, async t => {
      for (let call = 1; ; call++) {
        const node = new ClusterNode(clean => t.teardown(clean), ['10.1.0.0/29'])
        t.same([...node.add('a'), ...node.add('b')], ['10.1.0.2', '10.1.0.3'])
        prepare?.(node)
        if (!killAt(call, how, () => run(node))) break
        t.same([...node.add('a'), ...node.add('b')], ['10.1.0.2', '10.1.0.3'], 'the others have what they had')
        node.del('v')
        node.gc(['a', 'b'])
        for (const [address, owner] of Object.entries(node.files())) if (owner === '') node.age(address, 61)
        const rest = ['v', 'w', 'x', 'y'].flatMap(id => node.add(id))
        t.same(
          rest.toSorted(),
          [4, 5, 6, 7].map(last => `10.1.0.${last}`),
          'all the rest can be handed out',
        )
        t.ok(errorOf(() => node.add('late')))
      }
    })
  }
}

t.test('DEL that dies after it has emptied the file leaves an address that cools down', async t => {
  const node = new ClusterNode(clean => t.teardown(clean), ['10.1.0.0/29'], { ...smallPool, coolDown: 60 })
  for (const id of ['a', 'b', 'c', 'd', 'e', 'v']) node.add(id)
  let isEmpty = false
  for (let call = 1; !isEmpty; call++) {
    killAt(call, 'before', () => node.del('v'))
    isEmpty = node.files()['10.1.0.7'] === ''
  }
  t.equal(errorOf(() => node.add('new')).code, 11)
  node.age('10.1.0.7', 61)
  t.same(node.add('new'), ['10.1.0.7'])
})
