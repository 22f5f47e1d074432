/** cluster: addresses out of held blocks, overlayd asked only when they do not do. */

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CniError, ErrorCode } from '../../../lib/cni/errors.ts'
import { ClusterNode, smallPool } from './cluster-fixture.ts'
import { errorOf } from './fixture.ts'

const nodeFor = (t: Test, blocks?: readonly string[], ipam?: Readonly<Record<string, unknown>>) =>
  new ClusterNode(clean => t.teardown(clean), blocks, ipam)

/** Fills up from where the node stands; gives all that it got. */
function fill(node: ClusterNode, count: number, name = 'c'): string[] {
  return Array.from({ length: count }, (_, number) => node.add(`${name}${number}`)).flat()
}

t.test('the first ADD asks for a block with all that overlayd has to know', async t => {
  const node = nodeFor(t)
  t.same(node.add('a'), ['10.1.0.2'], 'neither the network nor the gateway')
  t.equal(node.agent.requests.length, 1)
  t.strictSame(node.agent.requests[0], {
    network: 'net',
    pool: 'net',
    dataDirectory: node.dataDir,
    coolDownSeconds: 60,
    rangeSets: [[{ subnet: '10.1.0.0/26', start: '10.1.0.1', end: '10.1.0.62', gateway: '10.1.0.1', blockLength: 29 }]],
    rangeSet: 0,
    containerId: 'a',
    ifname: 'eth0',
    full: [],
  })
})

t.test('while a block has room, overlayd is not asked', async t => {
  const node = nodeFor(t)
  node.add('first')
  node.agent.failure = new CniError(ErrorCode.tryAgainLater, 'overlayd is away')
  t.same(fill(node, 5), ['10.1.0.3', '10.1.0.4', '10.1.0.5', '10.1.0.6', '10.1.0.7'])
  t.equal(node.agent.requests.length, 1)
})

t.test('an address has the prefix length and the gateway of the subnet, not of the block', async t => {
  const node = nodeFor(t, ['10.1.0.8/29'], { ...smallPool, routes: [{ dst: '0.0.0.0/0' }] })
  t.strictSame(node.result('a'), {
    ips: [{ address: '10.1.0.8/26', gateway: '10.1.0.1' }],
    routes: [{ dst: '0.0.0.0/0' }],
  })
})

t.test('a full block is followed by another, which is asked for with those that are full', async t => {
  const node = nodeFor(t)
  const given = fill(node, 14)
  t.same(
    given,
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map(last => `10.1.0.${last}`),
  )
  t.same(
    node.agent.requests.map(({ full }) => full),
    [[], ['10.1.0.0/29']],
  )
})

t.test('what is repeated gets the same again, without overlayd and with full blocks', async t => {
  const node = nodeFor(t, ['10.1.0.0/29'])
  const given = fill(node, 6)
  t.same(fill(node, 6), given)
  t.equal(node.agent.requests.length, 1)
})

t.test('an exhausted pool is an error that says who has it, and nothing is taken', async t => {
  const node = nodeFor(t, ['10.1.0.0/29'])
  fill(node, 6)
  const before = node.files()
  const { code, message, details } = errorOf(() => node.add('late'))
  t.equal(code, ErrorCode.poolExhausted)
  t.match(message, /pool "net" is exhausted/)
  t.match(details, /node-2 has all/)
  t.match(details, /all are held/)
  t.same(node.files(), before)
})

t.test('one family without a block leaves none of the other taken', async t => {
  const ranges = [[{ subnet: '10.1.0.0/26', blockLength: 29 }], [{ subnet: 'fd00::/64', blockLength: 124 }]]
  const node = nodeFor(t, ['10.1.0.0/29'], { ranges })
  t.equal(errorOf(() => node.add('a')).code, ErrorCode.poolExhausted)
  t.same(node.files(), {})
  node.agent.blocks = ['fd00::10/124']
  t.same(node.add('a'), ['10.1.0.2', 'fd00::10'])
  t.equal(node.agent.requests.at(-1)?.rangeSet, 1)
})

t.test('an agent that gives what cannot be seen here does not make ADD ask for ever', async t => {
  const node = nodeFor(t)
  node.agent.answer = () => ({ held: '10.1.0.0/29' })
  const { code, details } = errorOf(() => node.add('a'))
  t.equal(code, ErrorCode.tryAgainLater)
  t.match(details, /same directory/)
})

t.test('DEL and GC need neither overlayd nor blocks nor ranges', async t => {
  const node = nodeFor(t)
  fill(node, 3)
  rmSync(join(node.dataDir, 'net/blocks.json'))
  node.agent.failure = new CniError(ErrorCode.tryAgainLater, 'overlayd is away')
  node.del('c0', { ipam: { subnet: undefined } })
  node.del('c0')
  node.gc(['c2'])
  t.same(node.files(), { '10.1.0.2': '', '10.1.0.3': '', '10.1.0.4': 'c2 eth0' })
})

t.test('cool-down', async t => {
  t.test('an address that was given back is passed over, and handed out when its time is up', async t => {
    const node = nodeFor(t, ['10.1.0.0/29'])
    fill(node, 6)
    for (const id of ['c1', 'c4']) node.del(id)
    const { code, details } = errorOf(() => node.add('new'))
    t.equal(code, ErrorCode.tryAgainLater, 'the pool is exhausted, but not for long')
    t.match(details, /the first may be used again in (60|59) s/)
    node.age('10.1.0.6', 61)
    t.same(node.add('new'), ['10.1.0.6'])
    t.equal(errorOf(() => node.add('other')).code, ErrorCode.tryAgainLater)
  })

  t.test('another block is taken before addresses are used again too early', async t => {
    const node = nodeFor(t)
    fill(node, 6)
    node.del('c0')
    t.same(node.add('new'), ['10.1.0.8'])
  })

  t.test('addresses are taken in turn: those given back last come last', async t => {
    const node = nodeFor(t, ['10.1.0.0/29'], { ...smallPool, coolDown: 1 })
    const seen = []
    for (let round = 0; round < 12; round++) {
      seen.push(...node.add(`r${round}`))
      node.del(`r${round}`)
      for (const address of Object.keys(node.files())) node.age(address, 2)
    }
    const once = [2, 3, 4, 5, 6, 7].map(last => `10.1.0.${last}`)
    t.same(seen, [...once, ...once])
  })

  t.test('an address asked for by name is given at once', async t => {
    const node = nodeFor(t)
    node.add('a')
    node.del('a')
    t.same(node.add('b', { args: { IP: '10.1.0.2' } }), ['10.1.0.2'])
  })

  t.test('a clock that was set back by years keeps no address', async t => {
    const node = nodeFor(t, ['10.1.0.0/29'])
    fill(node, 6)
    node.del('c3')
    node.age('10.1.0.5', -1e8)
    t.same(node.add('new'), ['10.1.0.5'])
  })

  t.test('none with "coolDown" 0, and nothing is left behind', async t => {
    const node = nodeFor(t, ['10.1.0.0/29'], { ...smallPool, coolDown: 0 })
    fill(node, 6)
    node.del('c3')
    t.notOk('10.1.0.5' in node.files())
    t.same(node.add('new'), ['10.1.0.5'])
  })

  t.test('GC removes the marks of those whose time is up, and keeps the others', async t => {
    const node = nodeFor(t)
    fill(node, 3)
    for (const id of ['c0', 'c1']) node.del(id)
    node.age('10.1.0.2', 61)
    node.gc(['c2'])
    t.same(node.files(), { '10.1.0.3': '', '10.1.0.4': 'c2 eth0' })
  })
})

t.test('addresses asked for by name', async t => {
  t.test('in a held block: without overlayd', async t => {
    const node = nodeFor(t)
    node.add('a')
    t.same(node.add('b', { config: { args: { cni: { ips: ['10.1.0.5/26'] } } } }), ['10.1.0.5'])
    t.same(node.add('c', { config: { runtimeConfig: { ips: ['10.1.0.6'] } } }), ['10.1.0.6'])
    t.equal(node.agent.requests.length, 1)
    const taken = errorOf(() => node.add('d', { args: { IP: '10.1.0.5' } }))
    t.equal(taken.code, ErrorCode.addressInUse)
    t.match(taken.details, /b eth0/)
  })

  t.test('in no held block: overlayd is asked for it', async t => {
    const node = nodeFor(t)
    node.add('a')
    t.same(node.add('b', { args: { IP: '10.1.0.9' } }), ['10.1.0.9'])
    t.same(node.agent.requests.at(-1)?.wanted, '10.1.0.9')
  })

  t.test('by an attachment that has another: it is refused, and overlayd is not asked', async t => {
    const node = nodeFor(t)
    node.add('a')
    t.equal(errorOf(() => node.add('a', { args: { IP: '10.1.0.33' } })).code, ErrorCode.conflict)
    t.equal(node.agent.requests.length, 1)
  })

  t.test('a borrowed address is for the one who asked for it, and no other', async t => {
    const node = nodeFor(t, ['10.1.0.0/29'])
    node.add('a')
    node.agent.change('net', held => ({ ...held, borrowed: ['10.1.0.33'] }))
    t.same(
      fill(node, 5),
      [3, 4, 5, 6, 7].map(last => `10.1.0.${last}`),
    )
    t.equal(errorOf(() => node.add('late')).code, ErrorCode.poolExhausted)
    t.same(node.add('asker', { args: { IP: '10.1.0.33' } }), ['10.1.0.33'])
    t.same(node.add('asker'), ['10.1.0.33'], 'it has it')
    node.check('asker', '10.1.0.33/26')
  })

  t.test('an address that is lent is not handed out, nor given to who asks for it here', async t => {
    const node = nodeFor(t, ['10.1.0.0/29'])
    node.add('a')
    node.agent.change('net', held => ({ ...held, blocks: [{ prefix: '10.1.0.0/29', lent: ['10.1.0.4', '10.1.0.7'] }] }))
    t.same(fill(node, 3), ['10.1.0.3', '10.1.0.5', '10.1.0.6'])
    t.equal(errorOf(() => node.add('late')).code, ErrorCode.poolExhausted)
    t.equal(errorOf(() => node.add('b', { args: { IP: '10.1.0.4' } })).code, ErrorCode.poolExhausted)
    t.equal(node.agent.requests.at(-1)?.wanted, '10.1.0.4', 'overlayd knows who has it')
  })
})

t.test('the lease of the blocks', async t => {
  const away = new CniError(ErrorCode.tryAgainLater, 'overlayd is away', 'start it')

  t.test('has run out: nothing new is handed out, and DEL goes on', async t => {
    const node = nodeFor(t)
    node.add('a')
    node.agent.lease(-5)
    node.agent.failure = away
    const { code, message, details } = errorOf(() => node.add('b'))
    t.equal(code, ErrorCode.tryAgainLater)
    t.match(message, /overlayd is away/)
    t.match(details, /ran out (5|6) s ago/)
    node.del('a')
    t.same(node.files(), { '10.1.0.2': '' })
  })

  t.test('is renewed when overlayd is asked', async t => {
    const node = nodeFor(t)
    node.add('a')
    node.agent.lease(-5)
    const { answer } = node.agent
    node.agent.answer = request => {
      node.agent.lease(600)
      return answer.call(node.agent, request)
    }
    t.same(node.add('b'), ['10.1.0.3'])
    t.same(node.agent.requests.at(-1)?.full, [], 'no block is full')
  })

  t.test('of an earlier boot, or none at all, counts for nothing', async t => {
    const node = nodeFor(t)
    node.add('a')
    node.agent.failure = away
    const lease = join(node.dataDir, '.lease')
    const { writeFileSync } = await import('node:fs')
    writeFileSync(lease, JSON.stringify({ version: 1, node: 'node-1', boot: [1, 2], expires: 1e12 }))
    t.match(errorOf(() => node.add('b')).details, /ran out with the last start of the host/)
    for (const text of ['', '{', '[]', '{"version":2}']) {
      writeFileSync(lease, text)
      t.equal(errorOf(() => node.add('b')).code, ErrorCode.tryAgainLater, text)
    }
    rmSync(lease)
    t.equal(errorOf(() => node.add('b')).code, ErrorCode.tryAgainLater)
  })
})

t.test('a block that was lost', async t => {
  const node = nodeFor(t, ['10.1.0.0/29', '10.1.0.8/29'])
  t.same(node.add('a'), ['10.1.0.2'])
  node.check('a', '10.1.0.2/26')
  node.agent.change('net', held => ({ ...held, blocks: [] }))
  const { code, message } = errorOf(() => node.check('a', '10.1.0.2/26'))
  t.equal(code, ErrorCode.checkFailed, 'CHECK tells')
  t.match(message, /in none of the blocks/)
  t.same(node.add('b'), ['10.1.0.8'], 'nothing is handed out of it')
  node.del('a')
  t.same(node.files(), { '10.1.0.2': '', '10.1.0.8': 'b eth0' }, 'DEL gives back what lies in it')
})

t.test('another pool than the one whose blocks this node has is refused', async t => {
  const node = nodeFor(t)
  node.add('a')
  const { code, message } = errorOf(() => node.add('b', { ipam: { pool: 'other' } }))
  t.equal(code, ErrorCode.conflict)
  t.match(message, /blocks of pool "net".*names pool "other"/)
})

t.test('CHECK', async t => {
  const node = nodeFor(t)
  node.add('a')
  node.check('a', '192.0.2.1/24')
  t.equal(errorOf(() => node.check('a', '10.1.0.3/26')).code, ErrorCode.checkFailed)
  t.match(errorOf(() => node.check('b', '10.1.0.2/26')).message, /^cluster: Failed to find/)
})

t.test('STATUS', async t => {
  t.test('asks without taking anything as long as there is no block', async t => {
    const node = nodeFor(t)
    node.status()
    t.equal(node.agent.requests[0]?.look, true)
    t.equal(node.agent.blocks.length, 2)
    node.agent.blocks = []
    const { code, message } = errorOf(() => node.status())
    t.equal(code, ErrorCode.unavailable)
    t.match(message, /exhausted/)
  })

  t.test('does not ask while there is room, and does when there is none', async t => {
    const node = nodeFor(t, ['10.1.0.0/29'])
    node.add('a')
    node.agent.failure = new CniError(ErrorCode.tryAgainLater, 'overlayd is away')
    node.status()
    fill(node, 5)
    const { code, message } = errorOf(() => node.status())
    t.equal(code, ErrorCode.unavailable)
    t.match(message, /overlayd is away/)
  })

  t.test('is 50 when the lease has run out and overlayd is away', async t => {
    const node = nodeFor(t)
    node.add('a')
    node.agent.lease(-1)
    node.agent.failure = new CniError(ErrorCode.tryAgainLater, 'overlayd is away')
    t.equal(errorOf(() => node.status()).code, ErrorCode.unavailable)
  })

  t.test('keeps the code of a configuration that overlayd refuses', async t => {
    const node = nodeFor(t)
    node.agent.failure = new CniError(ErrorCode.invalidNetworkConfig, 'pool "net" has subnet 10.2.0.0/16')
    t.equal(errorOf(() => node.status()).code, ErrorCode.invalidNetworkConfig)
  })
})
