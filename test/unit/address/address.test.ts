import fc from 'fast-check'
import { Address4, Address6 } from 'ip-address'
import t from 'tap'
import {
  addressFromBigInt,
  addressToBigInt,
  compareAddresses,
  equalAddresses,
  familyOf,
  formatAddress,
  isMulticast,
  nextAddress,
  parseAddress,
} from '../../../lib/address/address.ts'
import { anyAddress, ipv4, ipv6 } from './arbitrary.ts'

const parsed = (text: string) => {
  const address = parseAddress(text)
  return address && formatAddress(address)
}

t.test('formatAddress() writes IPv4 as ip-address does', async t => {
  fc.assert(
    fc.property(
      ipv4,
      address => formatAddress(address) === Address4.fromBigInt(addressToBigInt(address)).correctForm(),
    ),
  )
  t.pass()
})

t.test('formatAddress() writes IPv6 as ip-address does, which is RFC 5952', async t => {
  fc.assert(
    fc.property(
      ipv6,
      address => formatAddress(address) === Address6.fromBigInt(addressToBigInt(address)).correctForm(),
    ),
    { numRuns: 1000 },
  )
  t.pass()
})

t.test('parseAddress() reads what formatAddress() writes', async t => {
  fc.assert(
    fc.property(anyAddress, address => {
      const again = parseAddress(formatAddress(address))
      return again !== undefined && equalAddresses(again, address)
    }),
  )
  t.pass()
})

t.test('parseAddress() reads the long and the upper-case form of an IPv6 address', async t => {
  fc.assert(
    fc.property(ipv6, address => {
      const oracle = Address6.fromBigInt(addressToBigInt(address))
      return [oracle.canonicalForm(), oracle.canonicalForm().toUpperCase()].every(
        text => parsed(text) === formatAddress(address),
      )
    }),
  )
  t.pass()
})

t.test(
  'parseAddress() agrees with ip-address on what is an IPv6 address, for texts made of its characters',
  async t => {
    const text = fc
      .array(fc.constantFrom('0', '1', 'f', 'abcd', 'ffff', '12345', ':', ':', '::', ':0', '1:', '10.1.0.5'), {
        maxLength: 12,
      })
      .map(parts => parts.join(''))
      .filter(candidate => candidate.includes(':'))
    fc.assert(
      fc.property(text, candidate => {
        const address = parseAddress(candidate)
        const isValid = Address6.isValid(candidate)
        if (address === undefined || !isValid) return (address !== undefined) === isValid
        const value = address.length === 4 ? addressToBigInt(address) | (0xffffn << 32n) : addressToBigInt(address)
        return value === new Address6(candidate).bigInt()
      }),
      { numRuns: 5000 },
    )
    t.pass()
  },
)

t.test('parseAddress() agrees with ip-address on what is an IPv4 address, leading zeros apart', async t => {
  const part = fc.oneof(
    fc.integer({ min: 0, max: 300 }).map(String),
    fc.constantFrom('', ' 1', '1 ', '+1', '-1', '0x1', '1e1'),
  )
  const text = fc.array(part, { minLength: 3, maxLength: 5 }).map(parts => parts.join('.'))
  fc.assert(
    fc.property(text, candidate => (parseAddress(candidate) !== undefined) === Address4.isValid(candidate)),
    { numRuns: 2000 },
  )
  t.pass()
})

t.test('parseAddress() refuses what is no plain address', async t => {
  const bad = [
    '',
    ' ',
    '10.1.0',
    '10.1.0.5.6',
    '010.1.0.5',
    '10.1.0.05',
    '10.1.0.256',
    '10.1.0.5/16',
    '10.1.0.5 ',
    '10.1.0.5\n',
    '١٠.1.0.5',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8:9',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    'fe80::1%eth0',
    '[::1]',
    '::g',
    '::12345',
    '1:2:3:4:5:6:7:10.1.0.5',
    '10.1.0.5::',
    '::10.1.0.5:1',
    '::10.1.0.256',
    'localhost',
  ]
  for (const text of bad) t.equal(parsed(text), undefined, JSON.stringify(text))
})

t.test('parseAddress() takes an IPv4-mapped address for the IPv4 address, as Go does', async t => {
  t.equal(parsed('::ffff:10.1.0.5'), '10.1.0.5')
  t.equal(parsed('::FFFF:0a01:5'), '10.1.0.5')
  t.equal(parsed('::fffe:a01:5'), '::fffe:a01:5')
  t.equal(parsed('::10.1.0.5'), '::a01:5')
  t.equal(parsed('64:ff9b::192.0.2.1'), '64:ff9b::c000:201')
})

t.test('formatAddress() shortens the longest run of zeros, the first of equals, and never a single group', async t => {
  t.equal(parsed('0:0:0:0:0:0:0:0'), '::')
  t.equal(parsed('1:0:0:2:0:0:0:3'), '1:0:0:2::3')
  t.equal(parsed('1:0:0:2:3:0:0:4'), '1::2:3:0:0:4')
  t.equal(parsed('1:0:2:3:4:5:6:7'), '1:0:2:3:4:5:6:7')
  t.equal(parsed('1:2:3:4:5:6:0:0'), '1:2:3:4:5:6::')
  t.equal(parsed('::7:8'), '::7:8')
})

t.test('nextAddress() counts up by one and ends after the last address of the family', async t => {
  fc.assert(
    fc.property(anyAddress, address => {
      const next = nextAddress(address)
      const expected = addressFromBigInt(addressToBigInt(address) + 1n, familyOf(address))
      return next === undefined ? expected === undefined : expected !== undefined && equalAddresses(next, expected)
    }),
  )
  const last = parseAddress('255.255.255.255')
  t.ok(last)
  if (last) t.equal(nextAddress(last), undefined)
  const last6 = parseAddress('ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')
  t.ok(last6)
  if (last6) t.equal(nextAddress(last6), undefined)
})

t.test('addressFromBigInt() reverses addressToBigInt() and refuses what does not fit', async t => {
  fc.assert(
    fc.property(anyAddress, address => {
      const again = addressFromBigInt(addressToBigInt(address), familyOf(address))
      return again !== undefined && equalAddresses(again, address)
    }),
  )
  t.equal(addressFromBigInt(-1n, 4), undefined)
  t.equal(addressFromBigInt(1n << 32n, 4), undefined)
  t.equal(addressFromBigInt(1n << 128n, 6), undefined)
})

t.test('compareAddresses() orders as the numbers do, IPv4 before IPv6', async t => {
  fc.assert(
    fc.property(anyAddress, anyAddress, (a, b) => {
      const [x, y] = [addressToBigInt(a), addressToBigInt(b)]
      const byNumber = x < y ? -1 : x > y ? 1 : 0
      return Math.sign(compareAddresses(a, b)) === (a.length === b.length ? byNumber : Math.sign(a.length - b.length))
    }),
  )
  t.pass()
})

t.test('isMulticast() agrees with ip-address', async t => {
  fc.assert(
    fc.property(anyAddress, address => {
      const value = addressToBigInt(address)
      const oracle = address.length === 4 ? Address4.fromBigInt(value) : Address6.fromBigInt(value)
      return isMulticast(address) === oracle.isMulticast()
    }),
  )
  t.pass()
})
