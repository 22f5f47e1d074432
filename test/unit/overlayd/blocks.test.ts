/** Blocks of a pool among several nodes: never two of them have one, and what a node had comes back in the end. */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CniError, ErrorCode } from '../../../lib/cni/errors.ts'
import type { BlockRecord } from '../../../overlayd/blocks/records.ts'
import { assertSound, cluster, errorOf } from './blocks-fixture.ts'
import { type AddOptions, ipam, type SimulatedNode } from './simulated-node.ts'

/** Takes addresses until there are none. */
async function fill(node: SimulatedNode, options: AddOptions): Promise<never> {
  for (let number = 0; ; number++) await node.add(`fill${number}`, options)
}

t.test('nodes that ask at the same moment get blocks of their own', async t => {
  const { etcd, nodes } = await cluster(t, 5)
  const adds = nodes.flatMap(node => Array.from({ length: 12 }, (_, number) => node.add(`${node.name}-${number}`)))
  const given = (await Promise.all(adds)).flat()
  t.equal(new Set(given).size, 60)
  for (const node of nodes) t.equal(node.blocks().length, 2, 'no more than it needs')
  assertSound(t, etcd, nodes)
})

t.test('a pool without a free block names who has how many', async t => {
  const { first, second } = await cluster(t, 2)
  const small = { ipam: { subnet: '10.1.0.0/28' } }
  await first.add('a', small)
  await second.add('b', small)
  const { code, message, details } = await errorOf(fill(first, small))
  t.equal(code, ErrorCode.poolExhausted)
  t.match(message, /pool "net" is exhausted: its 2 blocks of 10\.1\.0\.0\/28/)
  t.match(details, /node-1 1, node-2 1/)
})

t.test('a pool has the subnets that it had first', async t => {
  const { first, second } = await cluster(t, 2)
  await first.add('a')
  const refusals = [
    { ipam: { subnet: '10.2.0.0/24' }, message: /10\.1\.0\.0\/24, and the configuration says 10\.2\.0\.0\/24/ },
    { ipam: { subnet: '10.1.0.0/25' }, message: /10\.1\.0\.0\/24, and the configuration says 10\.1\.0\.0\/25/ },
    { ipam: { blockLength: 28 }, message: /10\.1\.0\.0\/24 in blocks of \/29, and the configuration says \/28/ },
  ]
  for (const { ipam, message } of refusals) {
    const error = await errorOf(second.add('b', { ipam }))
    t.equal(error.code, ErrorCode.invalidNetworkConfig)
    t.match(error.message, message)
  }
  t.test('and grows by others', async t => {
    const ranges = [[{ ...ipam }, { subnet: '10.9.0.0/24', blockLength: 29 }]]
    t.same((await second.add('b', { ipam: { subnet: undefined, ranges } })).length, 1)
    t.same((await first.add('c')).length, 1, 'who knows the first only goes on')
  })
})

t.test('a pool that nobody has a block of may become another', async t => {
  const { etcd, first } = await cluster(t, 1)
  etcd.transaction([], [{ put: 'pools/net', value: { subnets: { '10.200.0.0/16': 26 } } }])
  t.equal((await first.add('a')).length, 1)
  t.same(etcd.value('pools/net'), { subnets: { '10.1.0.0/24': 29 } })
})

t.test('two networks have a pool in common when both name it, and no block', async t => {
  const { first } = await cluster(t, 1)
  const [a] = await first.add('c1', { network: 'one', ipam: { pool: 'shared' } })
  const [b] = await first.add('c1', { network: 'two', ipam: { pool: 'shared' } })
  t.not(a, b)
  t.notSame(first.blocks('one'), first.blocks('two'))
})

t.test('a node that is dead', async t => {
  t.test('loses its blocks when none is free, the empty ones first', async t => {
    const { etcd, first, second } = await cluster(t, 2)
    const small = { ipam: { subnet: '10.1.0.0/28' } }
    const [address = ''] = await first.add('a', small)
    const [mine] = first.blocks()
    for (let number = 0; first.blocks().length < 2; number++) await first.add(`a${number}`, small)
    etcd.expire('block-leases/node-1')
    const empty = first.blocks().find(block => block !== mine)
    for (const name of etcd.keys('blocks/net/')) {
      const inUse = name.includes(mine?.split('/')[0] ?? '') ? 6 : 0
      etcd.transaction([], [{ put: name, value: { ...etcd.value<BlockRecord>(name), inUse } }])
    }
    await second.add('b', small)
    t.same(second.blocks(), [empty])
    t.notOk(second.taken().has(address))
  })

  t.test('keeps them while there are others, and while its lease lasts', async t => {
    const { etcd, first, second } = await cluster(t, 2)
    await first.add('a')
    etcd.expire('block-leases/node-1')
    await second.add('b')
    t.notSame(second.blocks(), first.blocks())
    t.equal(etcd.keys('blocks/net/').length, 2)
  })

  t.test('keeps a block in which an endpoint has moved to a living node', async t => {
    const { etcd, first, second } = await cluster(t, 2)
    const small = { ipam: { subnet: '10.1.0.0/29' } }
    const [address] = await first.add('a', small)
    etcd.expire('block-leases/node-1')
    etcd.transaction([], [{ put: `endpoints/net/${address}`, value: { node: 'node-3' } }])
    t.equal((await errorOf(second.add('b', small))).code, ErrorCode.poolExhausted)
    etcd.transaction([], [{ put: `endpoints/net/${address}`, value: { node: 'node-1' } }])
    await second.add('b', small)
    t.same(etcd.keys('endpoints/'), [], 'its own endpoints go with it')
  })

  t.test('that comes back finds out what it has lost before it hands out another address', async t => {
    const { etcd, first, second } = await cluster(t, 2)
    const small = { ipam: { subnet: '10.1.0.0/29' } }
    await first.add('a', small)
    first.store.isConnected = false
    first.forgetLease()
    etcd.expire('block-leases/node-1')
    await second.add('b', small)
    t.equal((await errorOf(first.add('c', small))).code, ErrorCode.tryAgainLater, 'cut off: its lease has run out')
    first.store.isConnected = true
    await first.agent.renew()
    t.same(first.blocks(), [])
    t.equal((await errorOf(first.add('c', small))).code, ErrorCode.poolExhausted)
    first.del('a')
    t.equal(first.taken().size, 0, 'DEL of what it had works')
  })

  t.test('that comes back in time has lost nothing', async t => {
    const { etcd, nodes, first, second } = await cluster(t, 2)
    await first.add('a')
    const before = first.blocks()
    first.store.isConnected = false
    etcd.expire('block-leases/node-1')
    await second.add('b')
    first.store.isConnected = true
    await first.agent.renew()
    t.same(first.blocks(), before)
    await first.add('c')
    assertSound(t, etcd, nodes)
  })

  t.test('cannot lose a block to another while it comes back', async t => {
    const { etcd, first, second } = await cluster(t, 2)
    const small = { ipam: { subnet: '10.1.0.0/29' } }
    await first.add('a', small)
    etcd.expire('block-leases/node-1')
    const taking = errorOf(second.add('b', small))
    await first.agent.renew()
    t.equal((await taking).code, ErrorCode.poolExhausted)
    assertSound(t, etcd, [first, second])
  })
})

t.test('without etcd', async t => {
  const { first } = await cluster(t, 1)
  await first.add('a')
  first.store.isConnected = false
  t.equal((await first.add('b')).length, 1, 'ADD works while the block has room')
  for (let number = 0; number < 8; number++) await first.add(`c${number}`).catch(() => {})
  const { code, message } = await errorOf(first.add('d'))
  t.equal(code, ErrorCode.tryAgainLater)
  t.match(message, /etcd does not answer/)
})

t.test('an agent that ends at any moment', async t => {
  for (let call = 1; call < 30; call++) {
    const { etcd, nodes, first, second } = await cluster(t, 2)
    await first.add('a')
    let calls = 0
    let isDead = false
    const { onCall } = etcd
    etcd.onCall = async () => {
      await onCall()
      if (first.store.isConnected && ++calls === call) {
        first.store.isConnected = false
        isDead = true
      }
    }
    const work = async () => {
      for (let number = 0; number < 8; number++) await first.add(`c${number}`)
      for (let number = 0; number < 8; number++) first.del(`c${number}`)
      first.age(100)
      await first.agent.review()
      await first.agent.review()
    }
    await work().catch((error: unknown) => {
      if (!(error instanceof CniError)) throw error
    })
    etcd.onCall = onCall
    first.store.isConnected = true
    await first.restart()
    await Promise.all([first.add('x'), second.add('y')])
    await first.agent.review()
    assertSound(t, etcd, nodes)
    if (!isDead) return
  }
  t.fail('it never came to its end')
})

t.test('the network directory of a node', async t => {
  t.test('is removed: its blocks are given back when the agent starts', async t => {
    const { etcd, first } = await cluster(t, 1)
    await first.add('a')
    rmSync(join(first.dataDir, 'net'), { recursive: true })
    await first.restart()
    t.same(etcd.keys('blocks/'), [])
  })

  t.test('lost blocks.json alone: the block with addresses in use is found again', async t => {
    const { first } = await cluster(t, 1)
    const [address] = await first.add('a')
    const before = first.blocks()
    rmSync(join(first.dataDir, 'net/blocks.json'))
    await first.restart()
    const [other] = await first.add('b')
    t.same(first.blocks(), before)
    t.not(other, address)
  })

  t.test('is not where the plugin thinks', async t => {
    const { first } = await cluster(t, 1)
    const error = await errorOf(first.add('a', { ipam: { dataDir: join(first.dataDir, 'other') } }))
    t.equal(error.code, ErrorCode.invalidNetworkConfig)
    t.match(error.message, /"ipam\.dataDir" is ".*other", but overlayd keeps/)
  })
})

t.test('looking after blocks', async t => {
  t.test('one more is taken before the last is full', async t => {
    const { first } = await cluster(t, 1, { leaseAhead: 0.8 })
    const count = async () => {
      await first.agent.review()
      return first.blocks().length
    }
    for (let number = 0; number < 4; number++) await first.add(`c${number}`)
    t.equal(await count(), 1, '4 of 6 or 8')
    for (let number = 4; number < 7; number++) await first.add(`c${number}`)
    t.equal(await count(), 2)
    t.equal(await count(), 2, 'and no third')
    first.store.isConnected = false
    t.same((await first.add('d')).length, 1, 'ADD does not wait for etcd')
  })

  t.test('empty ones are given back, not the last, not those that cool down', async t => {
    const { etcd, nodes, first } = await cluster(t, 1)
    for (let number = 0; number < 20; number++) await first.add(`c${number}`)
    const held = first.blocks().length
    for (let number = 0; number < 20; number++) first.del(`c${number}`)
    await first.agent.review()
    t.equal(first.blocks().length, held, 'their addresses cool down')
    first.age(61)
    for (let round = 0; round < 5; round++) await first.agent.review()
    t.equal(first.blocks().length, 1)
    assertSound(t, etcd, nodes)
  })

  t.test('those that would soon be missed are kept', async t => {
    const { first } = await cluster(t, 1, { leaseAhead: 0.8 })
    for (let number = 0; number < 7; number++) await first.add(`c${number}`)
    await first.agent.review()
    await first.agent.review()
    t.equal(first.blocks().length, 2, 'the second is all but empty, but the first is full')
  })

  t.test('etcd is told how many addresses are in use', async t => {
    const { etcd, first } = await cluster(t, 1)
    for (let number = 0; number < 3; number++) await first.add(`c${number}`)
    await first.agent.review()
    const [key = ''] = etcd.keys('blocks/net/')
    t.equal(etcd.value<BlockRecord>(key)?.inUse, 3)
  })
})
