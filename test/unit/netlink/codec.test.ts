/** Encoder and decoder of attributes: what is written is what is read. */

import fc from 'fast-check'
import t from 'tap'
import {
  attributeTable,
  bytes,
  type Codec,
  decodeAttributes,
  encodeAttributes,
  flag,
  i32,
  kernelName,
  list,
  nested,
  repeated,
  string,
  struct,
  structThenAttributes,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64be,
  variant,
} from '../../../lib/netlink/codec.ts'
import { boolean8, ipAddress, named } from '../../../lib/netlink/route/value-codecs.ts'
import { ByteReader, ByteWriter } from '../../../lib/netlink/wire.ts'
import { allocate } from '../../../lib/sys/bytes.ts'

const inner = attributeTable('INNER', { number: [1, u32], text: [2, string] })
const kinds = {
  numbers: attributeTable('NUMBERS', { a: [1, u8], b: [2, u64] }),
  texts: attributeTable('TEXTS', { c: [1, string] }),
}
const pair = struct({ low: u16be, gap: 2, high: u32 })

const table = attributeTable('TEST', {
  byte: [1, u8],
  short: [2, u16],
  shortBe: [3, u16be],
  long: [4, u32],
  longBe: [5, u32be],
  signed: [6, i32],
  wide: [7, u64],
  wideBe: [8, u64be],
  text: [9, string],
  raw: [10, bytes],
  present: [11, flag],
  pair: [12, pair],
  inner: [13, nested(inner)],
  headed: [14, structThenAttributes(pair, inner)],
  list: [15, list(1, string)],
  several: [16, repeated(pair)],
  kind: [17, string],
  data: [18, variant('kind', () => kinds)],
  yes: [19, boolean8],
  mode: [20, named(u8, { slow: 0, fast: 1 })],
  address: [21, ipAddress],
})

const u8s = fc.integer({ min: 0, max: 0xff })
const u16s = fc.integer({ min: 0, max: 0xffff })
const u32s = fc.integer({ min: 0, max: 0xffffffff })
const u64s = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })
const texts = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(text => !text.includes('\0'))
const raws = fc.uint8Array({ maxLength: 50 })
const pairs = fc.record({ low: u16s, high: u32s })
const inners = fc.record({ number: u32s, text: texts }, { requiredKeys: [] })
const datas = fc.oneof(
  fc.record({ kind: fc.constant('numbers'), data: fc.record({ a: u8s, b: u64s }, { requiredKeys: [] }) }),
  fc.record({ kind: fc.constant('texts'), data: fc.record({ c: texts }, { requiredKeys: [] }) }),
  fc.record({ kind: fc.constant('unheard-of'), data: fc.record({ raw: raws }) }),
  fc.constant({}),
)

const values = fc
  .tuple(
    fc.record(
      {
        byte: u8s,
        short: u16s,
        shortBe: u16s,
        long: u32s,
        longBe: u32s,
        signed: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        wide: u64s,
        wideBe: u64s,
        text: texts,
        raw: raws,
        present: fc.constant(true as const),
        pair: pairs,
        inner: inners,
        headed: fc.record({ header: pairs, attributes: inners }),
        list: fc.array(texts, { maxLength: 5 }),
        several: fc.array(pairs, { minLength: 1, maxLength: 5 }),
        yes: fc.boolean(),
        mode: fc.oneof(fc.constantFrom('slow' as const, 'fast' as const), fc.integer({ min: 2, max: 255 })),
        address: fc.oneof(
          fc.uint8Array({ minLength: 4, maxLength: 4 }),
          fc.uint8Array({ minLength: 16, maxLength: 16 }),
        ),
      },
      { requiredKeys: [] },
    ),
    datas,
  )
  .map(([simple, data]) => ({ ...simple, ...data }))

type TestValues = Parameters<typeof encodeAttributes<typeof table.entries>>[2]

function encode(value: unknown): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter()
  encodeAttributes(writer, table, value as TestValues)
  return writer.finish().slice()
}

const read = (bytes: Uint8Array<ArrayBuffer>) =>
  decodeAttributes(new ByteReader(new DataView(bytes.buffer), 0, bytes.length), table)

/** Bytes compare by their content whatever view they are. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, one) => {
      if (one instanceof Uint8Array) return Array.from(one)
      return typeof one === 'bigint' ? `${one}n` : one
    }),
  )

t.test('any values are read as they were written, and written again to the same bytes', t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(values, value => {
        const first = encode(value)
        const back = read(first)
        t.same(plain(back), plain(value)) || fail()
        const again = encode(back)
        if (again.length !== first.length || again.some((byte, index) => byte !== first[index])) fail()
      }),
      { numRuns: 500 },
    ),
  )
  t.end()
})

function fail(): never {
  throw new Error('differs')
}

t.test('attributes are padded to four bytes, padding is not counted, and the last may lack it', t => {
  const bytes = encode({ text: 'abcd', byte: 7 })
  t.same(Array.from(bytes), [9, 0, 9, 0, 97, 98, 99, 100, 0, 0, 0, 0, 5, 0, 1, 0, 7, 0, 0, 0])
  t.same(read(bytes.slice(0, 17)), { text: 'abcd', byte: 7 })
  t.end()
})

t.test('attributes within attributes are marked as such, and read with and without the mark', t => {
  const bytes = encode({ inner: { number: 1 } })
  t.equal(new DataView(bytes.buffer).getUint16(2, true), 0x8000 | 13)
  const unmarked = bytes.slice()
  unmarked[3] = 0
  t.same(read(unmarked), { inner: { number: 1 } })
  t.end()
})

t.test('byte order: the host’s own unless the name says otherwise', t => {
  t.same(Array.from(encode({ short: 0x0102 }).slice(4, 6)), [2, 1])
  t.same(Array.from(encode({ shortBe: 0x0102 }).slice(4, 6)), [1, 2])
  t.same(Array.from(encode({ wideBe: 0x0102030405060708n }).slice(4)), [1, 2, 3, 4, 5, 6, 7, 8])
  t.same(Array.from(encode({ signed: -2 }).slice(4)), [254, 255, 255, 255])
  t.end()
})

t.test('what the table does not name is passed over', t => {
  const bytes = allocate(12)
  bytes.set([8, 0, 99, 0, 1, 2, 3, 4, 4, 0, 11, 0])
  t.same(plain(read(bytes)), { present: true })
  t.end()
})

t.test('undefined is left out, an unknown name is an error', t => {
  t.equal(encode({ byte: undefined, text: undefined }).length, 0)
  t.throws(() => encode({ nothing: 1 }), { name: 'TypeError', message: /TEST.*nothing/ })
  t.throws(() => encode({ mode: 'medium' }), { name: 'RangeError', message: /slow, fast/ })
  t.throws(() => encode({ kind: 'unheard-of', data: { a: 1 } }), TypeError)
  t.throws(() => encode({ raw: new Uint8Array(70_000) }), RangeError)
  t.end()
})

t.test('a structure that is longer than ours, as a newer kernel sends it, is read', t => {
  const longer = allocate(24)
  longer.set([20, 0, 12, 0, 1, 2, 0, 0, 5, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 5, 0, 1, 0])
  const bytes = allocate(28)
  bytes.set(longer)
  bytes[24] = 7
  t.same(read(bytes), { pair: { low: 0x0102, high: 5 }, byte: 7 })
  t.end()
})

t.test('kernelName() spells the kernel’s constant', t => {
  t.equal(kernelName('IFLA', 'numTxQueues'), 'IFLA_NUM_TX_QUEUES')
  t.equal(kernelName('IFLA_VXLAN', 'udpZeroCsum6Tx'), 'IFLA_VXLAN_UDP_ZERO_CSUM6_TX')
  t.end()
})

t.test('a writer grows as long as it must, and lengths are filled in afterwards', t => {
  const writer = new ByteWriter()
  const chunk = new Uint8Array(700).fill(3)
  for (let count = 0; count < 100; count++) writer.bytes(chunk)
  writer.u8(1)
  writer.align(4)
  writer.patchU32(0, 0x01020304)
  const bytes = writer.finish()
  t.equal(bytes.length, 70_004)
  t.same(Array.from(bytes.subarray(0, 5)), [4, 3, 2, 1, 3])
  t.equal(bytes[70_000], 1)
  t.end()
})

t.test('a codec is never given more than its attribute', t => {
  const greedy: Codec<number> = { encode() {}, decode: reader => reader.bytes(5).length }
  const small = attributeTable('SMALL', { greedy: [1, greedy], next: [2, u32] })
  const bytes = allocate(16)
  bytes.set([8, 0, 1, 0, 1, 2, 3, 4, 8, 0, 2, 0, 1, 0, 0, 0])
  t.throws(() => decodeAttributes(new ByteReader(new DataView(bytes.buffer), 0, 16), small), { name: 'DecodeError' })
  t.end()
})
