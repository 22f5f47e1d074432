/** Addresses that containers ask for by name, wherever their blocks are: borrowed, moved, refused, and given back. */

import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ErrorCode } from '../../../lib/cni/errors.ts'
import type { PinRecord } from '../../../overlayd/blocks/records.ts'
import { assertSound, cluster, errorOf } from './blocks-fixture.ts'

t.test('an address asked for by name', async t => {
  /** The block of 10.1.0.40 is the first node's. */
  const withBlock = async (t: Test) => {
    const all = await cluster(t, 3)
    t.same(await all.first.add('a', { ip: '10.1.0.42' }), ['10.1.0.42'], 'in a block of nobody: it is taken')
    t.same(all.first.blocks(), ['10.1.0.40/29'])
    await all.second.add('b')
    return all
  }

  t.test('in the block of another node is borrowed, and comes back', async t => {
    const { etcd, nodes, first, second } = await withBlock(t)
    t.same(await second.add('c', { ip: '10.1.0.44' }), ['10.1.0.44'])
    t.equal(etcd.value<PinRecord>('pins/net/10.1.0.44')?.state, 'granted')
    t.same(first.held()?.blocks[0]?.lent, ['10.1.0.44'])
    const others = []
    for (let number = 0; number < 6; number++) others.push(...(await first.add(`d${number}`)))
    t.notOk(others.includes('10.1.0.44'), 'its owner hands it to nobody')
    assertSound(t, etcd, nodes)
    second.del('c')
    await second.agent.review()
    t.same(etcd.keys('pins/'), [])
    t.same(second.held()?.borrowed, [])
    t.same(first.held()?.blocks[0]?.lent, [])
    t.same(await first.add('e', { ip: '10.1.0.44' }), ['10.1.0.44'])
  })

  t.test('moves with its container to a third node', async t => {
    const { nodes, etcd, second, third } = await withBlock(t)
    await second.add('c', { ip: '10.1.0.44' })
    second.del('c')
    const moving = third.add('c', { ip: '10.1.0.44' })
    await second.agent.review()
    t.same(await moving, ['10.1.0.44'])
    assertSound(t, etcd, nodes)
  })

  t.test('moves away from the node that has its block', async t => {
    const { first, second } = await withBlock(t)
    first.del('a')
    t.same(await second.add('a', { ip: '10.1.0.42' }), ['10.1.0.42'], 'though it cools down there')
  })

  t.test('that is taken is refused with the name of who has it', async t => {
    const { etcd, second, third } = await withBlock(t)
    const byOwner = await errorOf(second.add('c', { ip: '10.1.0.42' }))
    t.equal(byOwner.code, ErrorCode.addressInUse)
    t.match(byOwner.message, /a eth0 on node node-1/)
    t.same(etcd.keys('pins/'), [])
    await second.add('c', { ip: '10.1.0.44' })
    const byBorrower = await errorOf(third.add('d', { ip: '10.1.0.44' }))
    t.equal(byBorrower.code, ErrorCode.addressInUse)
    t.match(byBorrower.message, /c eth0 on node node-2/)
  })

  t.test('whose node does not answer is to be tried again', async t => {
    const { etcd, first, second } = await withBlock(t)
    first.store.isConnected = false
    const { code, message } = await errorOf(second.add('c', { ip: '10.1.0.44' }))
    t.equal(code, ErrorCode.tryAgainLater)
    t.match(message, /node "node-1", which does not answer/)
    t.same(etcd.keys('pins/'), [])
    t.test('and the block is taken when that node is dead', async t => {
      etcd.expire('block-leases/node-1')
      t.same(await second.add('c', { ip: '10.1.0.44' }), ['10.1.0.44'])
    })
  })

  t.test('of a borrower that is dead comes back', async t => {
    const { etcd, first, second } = await withBlock(t)
    await second.add('c', { ip: '10.1.0.44' })
    etcd.expire('block-leases/node-2')
    await first.agent.sweep()
    t.same(etcd.keys('pins/'), [])
    await pause(20)
    t.same(first.held()?.blocks[0]?.lent, [])
    await second.agent.renew()
    t.same(second.held()?.borrowed, [], 'which finds out when it is back')
  })

  t.test('that two nodes ask of each other at the same moment is given to both', async t => {
    const { first, second } = await withBlock(t)
    const [mine = ''] = second.blocks()
    const free = mine.replace(/\.(\d+)\/29/, (_, last: string) => `.${Number(last) + 6}`)
    t.same(await Promise.all([first.add('x', { ip: free }), second.add('y', { ip: '10.1.0.44' })]), [
      [free],
      ['10.1.0.44'],
    ])
  })

  t.test('comes back though etcd was away when it was given back', async t => {
    const { etcd, first, second } = await withBlock(t)
    await second.add('c', { ip: '10.1.0.44' })
    second.del('c')
    second.store.isConnected = false
    await second.agent.review()
    t.same(second.held()?.borrowed, [], 'nobody gets it here any more')
    second.store.isConnected = true
    await second.agent.sweep()
    t.same(etcd.keys('pins/'), [])
    t.same(first.held()?.blocks[0]?.lent, [])
  })

  t.test('stays lent when its block changes hands', async t => {
    const { etcd, second, third } = await withBlock(t)
    await second.add('c', { ip: '10.1.0.44' })
    etcd.expire('block-leases/node-1')
    t.same(await third.add('d', { ip: '10.1.0.43' }), ['10.1.0.43'])
    t.same(third.held()?.blocks, [{ prefix: '10.1.0.40/29', lent: ['10.1.0.44'] }])
  })

  t.test('stays lent and borrowed when the agents are started again', async t => {
    const { first, second } = await withBlock(t)
    await second.add('c', { ip: '10.1.0.44' })
    await Promise.all([first.restart(), second.restart()])
    t.same(first.held()?.blocks[0]?.lent, ['10.1.0.44'])
    t.same(second.held()?.borrowed, ['10.1.0.44'])
  })
})
