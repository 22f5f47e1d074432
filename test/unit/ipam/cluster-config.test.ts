/** cluster's configuration: what is refused and what it says, and the blocks of a range. */

import fc from 'fast-check'
import t from 'tap'
import type { Range } from '../../../ipam/allocator/range.ts'
import { parseClusterConfig, parseClusterStore } from '../../../ipam/cluster/config.ts'
import { blockOf, defaultBlockLength, heldRanges, type PoolRange } from '../../../ipam/cluster/pool-range.ts'
import { addressFromBigInt, addressToBigInt, formatAddress } from '../../../lib/address/address.ts'
import { formatPrefix, parsePrefix } from '../../../lib/address/prefix.ts'
import { ErrorCode } from '../../../lib/cni/errors.ts'
import { blockCount, blocksOf } from '../../../overlayd/blocks/choose.ts'
import { ClusterNode } from './cluster-fixture.ts'
import { errorOf, type RequestOptions } from './fixture.ts'

t.test('what cannot be meant is refused with the key, the value and a remedy', t => {
  const subnet = '10.1.0.0/24'
  const ranges = (...sets: object[][]) => ({ ipam: { subnet: undefined, ranges: sets } })
  const table: [RequestOptions, RegExp, number?][] = [
    [{ ipam: { subnet: undefined } }, /no IP ranges specified/],
    [{ ipam: { subnet: '10.1.0.0' } }, /"ipam\.subnet" is "10\.1\.0\.0", but must be a prefix/],
    [{ ipam: { subnet: '10.1.0.1/24' } }, /host bits set/],
    [{ ipam: { subnet: '10.1.0.0/31', blockLength: undefined } }, /too small/],
    [{ ipam: { subnet, blockLength: 23 } }, /"ipam\.blockLength" is 23, but must be from 24 to 32/],
    [{ ipam: { subnet, blockLength: 33 } }, /"ipam\.blockLength" is 33/],
    [{ ipam: { subnet, blockLength: 0 } }, /blockLength/],
    [{ ipam: { subnet, blockLength: 26.5 } }, /blockLength/],
    [{ ipam: { subnet, blockLength: '26' } }, /blockLength/],
    [{ ipam: { subnet: '10.0.0.0/8', blockLength: 30 } }, /which makes 2\^22 blocks of 10\.0\.0\.0\/8/],
    [{ ipam: { subnet: 'fd00::/64', blockLength: 32 } }, /must be from 64 to 128/],
    [ranges([{ subnet: 'fd00::/64', blockLength: 129 }]), /blockLength/],
    [ranges([{ subnet }, { subnet: 'fd00::/64' }]), /mixed address families/],
    [ranges([{ subnet }], [{ subnet }]), /range set 0 overlaps with 1/],
    [{ ipam: { subnet, rangeStart: '10.2.0.5' } }, /RangeStart 10\.2\.0\.5 not in network/],
    [{ ipam: { subnet, gateway: 'fd00::1' } }, /another address family/],
    [{ ipam: { subnet, pool: '' } }, /pool/],
    [{ ipam: { subnet, pool: 'a/b' } }, /pool/],
    [{ ipam: { subnet, pool: '.lease' } }, /pool/],
    [{ ipam: { subnet, coolDown: -1 } }, /coolDown/],
    [{ ipam: { subnet, coolDown: 86401 } }, /coolDown/],
    [{ ipam: { subnet, socket: 'overlayd.sock' } }, /socket/],
    [{ ipam: { subnet, dataDir: 'cluster' } }, /dataDir/],
    [{ ipam: { subnet, routes: [{ dst: 'fd00::/64', gw: '10.1.0.1' }] } }, /another address family/],
    [{ ipam: { subnet, resolvConf: '/nonexistent' } }, /no such file/],
    [{ config: { runtimeConfig: { ipRanges: [[{ subnet }]] } } }, /a pool of the whole cluster/],
    [{ config: { runtimeConfig: { ips: ['10.9.0.5'] } } }, /failed to allocate all requested IPs: 10\.9\.0\.5/],
    [{ config: { runtimeConfig: { ips: ['10.1.0.1'] } } }, /is subnet's gateway/],
    [{ config: { args: { cni: { ips: ['ten'] } } } }, /args\.cni\.ips\[0\] is "ten"/],
    [{ args: { IP: '10.1.0.' } }, /IP in CNI_ARGS is "10\.1\.0\."/, ErrorCode.invalidEnvironment],
    [{ cniVersion: '0.2.0', ipam: { ranges: [[{ subnet: '10.2.0.0/24' }]] } }, /does not support more than 1 address/],
  ]
  for (const [options, message, code = ErrorCode.invalidNetworkConfig] of table) {
    const node = new ClusterNode(clean => t.teardown(clean))
    const error = errorOf(() => node.add('a', options))
    t.equal(error.code, code, JSON.stringify(options))
    t.match(error.message, message)
    t.ok(error.details, 'says what to do')
    t.same(node.agent.requests, [], 'overlayd is not asked')
  }
  t.end()
})

t.test('DEL takes a configuration with faults, as long as the directory can be found', t => {
  const node = new ClusterNode(clean => t.teardown(clean))
  node.add('a')
  node.del('a', { ipam: { subnet: 'x', coolDown: 'long', blockLength: 99 } })
  t.same(node.files(), { '10.1.0.2': '' })
  t.equal(errorOf(() => node.del('a', { ipam: { dataDir: 7 } })).code, ErrorCode.invalidNetworkConfig)
  t.end()
})

t.test('what is left out has defaults', t => {
  const node = new ClusterNode(clean => t.teardown(clean))
  const options = { ipam: { blockLength: undefined, dataDir: undefined } }
  const config = parseClusterConfig(node.request('ADD', 'a', options))
  t.match(config, { pool: 'net', coolDownSeconds: 60, socket: '/run/cnikit/overlayd.sock', requested: [undefined] })
  t.equal(parseClusterStore(node.request('DEL', 'a', options)).dataDirectory, '/var/lib/cni/cluster')
  const lengths = { '10.0.0.0/8': 26, '10.1.0.0/16': 26, '10.1.0.0/24': 27, '10.1.0.0/28': 30, '10.1.0.0/30': 30 }
  const lengths6 = { 'fd00::/48': 112, 'fd00::/64': 112, 'fd00::/112': 115, 'fd00::/126': 126 }
  for (const [subnet, length] of Object.entries({ ...lengths, ...lengths6 })) {
    const prefix = parsePrefix(subnet)
    t.equal(prefix && defaultBlockLength(prefix), length, subnet)
  }
  t.end()
})

/** A range in a small subnet, with its bounds and gateway anywhere in it. */
const poolRange = fc
  .record({
    bits: fc.integer({ min: 2, max: 8 }),
    v6: fc.boolean(),
    block: fc.nat(),
    numbers: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
  })
  .map(({ bits, v6, block, numbers }): PoolRange => {
    const [family, width, base] = v6 ? ([6, 128, 0xfdn << 120n] as const) : ([4, 32, 0x0a010000n] as const)
    const at = (offset = 0) => addressFromBigInt(base + BigInt(offset % (1 << bits)), family) ?? new Uint8Array()
    const [low = 0, high = 0] = numbers
      .slice(0, 2)
      .map(number => number % (1 << bits))
      .toSorted((a, b) => a - b)
    const length = width - bits
    return {
      subnet: { address: at(0), length },
      start: at(low),
      end: at(high),
      gateway: at(numbers[2]),
      blockLength: length + (block % (bits + 1)),
    }
  })

function members(ranges: readonly Range[]): string[] {
  return ranges.flatMap(({ start, end, gateway }) => {
    const texts = []
    for (let next = addressToBigInt(start); next <= addressToBigInt(end); next++)
      texts.push(formatAddress(addressFromBigInt(next, start.length === 4 ? 4 : 6) ?? start))
    return texts.filter(text => text !== formatAddress(gateway))
  })
}

t.test('the blocks of a range have each of its addresses once, and none besides', async t => {
  fc.assert(
    fc.property(poolRange, range => {
      const blocks = [...blocksOf(range)]
      const held = heldRanges(
        [range],
        blocks.map(block => ({ prefix: formatPrefix(block), lent: [] })),
      )
      t.same(members(held), members([range]))
      const count = blockCount(range)
      if (count < BigInt(blocks.length) || count > BigInt(blocks.length) + 1n) throw new Error(`${count} blocks`)
      for (const block of blocks)
        if (formatPrefix(blockOf(range, block.address)) !== formatPrefix(block)) throw new Error('not its own block')
    }),
    { numRuns: 200 },
  )
})

t.test('lent addresses are left out, borrowed ones are added', async t => {
  fc.assert(
    fc.property(poolRange, fc.array(fc.nat(255), { maxLength: 6 }), (range, picks) => {
      const all = members([range])
      const lent = [...new Set(picks.map(pick => all[pick % all.length]).filter(text => text !== undefined))]
      const blocks = [...blocksOf(range)].map(block => ({ prefix: formatPrefix(block), lent }))
      t.same(
        members(heldRanges([range], blocks)),
        all.filter(text => !lent.includes(text)),
      )
      const borrowed = lent.map(text => parsePrefix(`${text}/0`)?.address ?? new Uint8Array())
      t.same(members(heldRanges([range], [], borrowed)), lent)
    }),
    { numRuns: 200 },
  )
})
