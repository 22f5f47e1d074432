import fc from 'fast-check'
import { Address4, Address6 } from 'ip-address'
import t from 'tap'
import { formatAddress } from '../../../lib/address/address.ts'
import type { Prefix } from '../../../lib/address/prefix.ts'
import {
  comparePrefixes,
  formatPrefix,
  lastAddress,
  netmask,
  networkAddress,
  networkOf,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
} from '../../../lib/address/prefix.ts'
import { anyAddress, anyPrefix } from './arbitrary.ts'

const oracleOf = (prefix: Prefix) =>
  prefix.address.length === 4 ? new Address4(formatPrefix(prefix)) : new Address6(formatPrefix(prefix))

const parsed = (text: string) => {
  const prefix = parsePrefix(text)
  return prefix && formatPrefix(prefix)
}

t.test('networkAddress() and lastAddress() are the first and the last address that ip-address names', async t => {
  fc.assert(
    fc.property(
      anyPrefix,
      prefix =>
        formatAddress(networkAddress(prefix)) === oracleOf(prefix).startAddress().correctForm() &&
        formatAddress(lastAddress(prefix)) === oracleOf(prefix).endAddress().correctForm(),
    ),
    { numRuns: 1000 },
  )
  t.pass()
})

t.test('prefixContains() agrees with ip-address within a family, and is false across families', async t => {
  fc.assert(
    fc.property(anyPrefix, anyAddress, (prefix, address) => {
      if (prefix.address.length !== address.length) return !prefixContains(prefix, address)
      const host = oracleOf({ address, length: address.length * 8 })
      const network = oracleOf(prefix)
      const expected =
        host instanceof Address4 && network instanceof Address4
          ? host.isInSubnet(network)
          : host instanceof Address6 && network instanceof Address6 && host.isInSubnet(network)
      return prefixContains(prefix, address) === expected
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

t.test('a prefix contains its own addresses, and the bounds of it are in order', async t => {
  fc.assert(
    fc.property(anyPrefix, prefix => {
      const bounds = [networkAddress(prefix), lastAddress(prefix), prefix.address]
      return bounds.every(address => prefixContains(prefix, address))
    }),
  )
  t.pass()
})

t.test('prefixesOverlap() holds exactly when one network lies in the other', async t => {
  fc.assert(
    fc.property(anyPrefix, anyPrefix, (a, b) => {
      const expected = prefixContains(a, networkAddress(b)) || prefixContains(b, networkAddress(a))
      return prefixesOverlap(a, b) === expected && prefixesOverlap(b, a) === expected
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

t.test('parsePrefix() reads what formatPrefix() writes', async t => {
  fc.assert(fc.property(anyPrefix, prefix => parsed(formatPrefix(prefix)) === formatPrefix(prefix)))
  t.pass()
})

t.test('parsePrefix() takes the length of an IPv4-mapped prefix for that of its IPv4 part', async t => {
  t.equal(parsed('::ffff:10.1.0.0/112'), '10.1.0.0/16')
  t.equal(parsed('::ffff:10.1.0.0/96'), '10.1.0.0/0')
  t.equal(parsed('::ffff:10.1.0.0/95'), undefined)
})

t.test('parsePrefix() refuses what is no prefix', async t => {
  for (const text of [
    '',
    '/',
    '10.1.0.0',
    '10.1.0.0/',
    '/8',
    '10.1.0.0/33',
    '10.1.0.0/-1',
    '10.1.0.0/08',
    '10.1.0.0/8/8',
  ])
    t.equal(parsed(text), undefined, text)
  for (const text of ['::/129', '::/1000', '10.1.0.0/16 ', ' 10.1.0.0/16', '10.1.0.0/255.255.0.0', '10.1/16', '::/'])
    t.equal(parsed(text), undefined, text)
})

t.test('netmask() has as many ones as the prefix is long', async t => {
  t.equal(formatAddress(netmask({ address: new Uint8Array(4), length: 20 })), '255.255.240.0')
  t.equal(formatAddress(netmask({ address: new Uint8Array(4), length: 0 })), '0.0.0.0')
  t.equal(formatAddress(netmask({ address: new Uint8Array(4), length: 32 })), '255.255.255.255')
  t.equal(formatAddress(netmask({ address: new Uint8Array(16), length: 33 })), 'ffff:ffff:8000::')
})

t.test('networkOf() and comparePrefixes(): the network first, then the length', async t => {
  const prefixes = ['10.2.0.0/16', '10.1.9.9/8', '10.1.0.0/24', '10.1.0.0/16', '::/0'].map(text => {
    const prefix = parsePrefix(text)
    if (prefix === undefined) throw new Error(text)
    return networkOf(prefix)
  })
  t.strictSame(prefixes.toSorted(comparePrefixes).map(formatPrefix), [
    '10.0.0.0/8',
    '10.1.0.0/16',
    '10.1.0.0/24',
    '10.2.0.0/16',
    '::/0',
  ])
})
