/**
 * Messages as data. A table names the attributes of a family once, and from it come the encoder, the decoder and the
 * TypeScript type of the values, so that a new attribute is one line:
 *
 *     export const addressAttributes = attributeTable('IFA', {
 *       address: [1, bytes],
 *       flags: [8, u32],
 *     })
 *     type AddressValues = Values<typeof addressAttributes>  // { address?: Uint8Array, flags?: number }
 *
 * The kernel's name of an attribute is the table's prefix and the key: `flags` in "IFA" is IFA_FLAGS.
 */

import { encodeText } from '../sys/bytes.ts'
import { type ByteReader, type ByteWriter, DecodeError } from './wire.ts'

/** How one kind of value is written and read. `siblings` are the values of the same level, for {@link variant}. */
export interface Codec<T> {
  /** Set when the payload is attributes again: the kernel wants NLA_F_NESTED then. */
  readonly nested?: boolean
  /** Set when the attribute may occur several times; the codec is then called for each element. See {@link repeated}. */
  readonly repeated?: boolean
  encode(writer: ByteWriter, value: T, siblings: Readonly<Record<string, unknown>>): void
  /** Reads the whole reader. */
  decode(reader: ByteReader, siblings: Readonly<Record<string, unknown>>): T
}

export const u8: Codec<number> = { encode: (writer, value) => writer.u8(value), decode: reader => reader.u8() }
export const u16: Codec<number> = { encode: (writer, value) => writer.u16(value), decode: reader => reader.u16() }
export const u16be: Codec<number> = { encode: (writer, value) => writer.u16be(value), decode: reader => reader.u16be() }
export const u32: Codec<number> = { encode: (writer, value) => writer.u32(value), decode: reader => reader.u32() }
export const u32be: Codec<number> = { encode: (writer, value) => writer.u32be(value), decode: reader => reader.u32be() }
export const i32: Codec<number> = { encode: (writer, value) => writer.u32(value >>> 0), decode: reader => reader.i32() }
export const u64: Codec<bigint> = { encode: (writer, value) => writer.u64(value), decode: reader => reader.u64() }
export const u64be: Codec<bigint> = { encode: (writer, value) => writer.u64be(value), decode: reader => reader.u64be() }

/** Text with a final NUL. */
export const string: Codec<string> = {
  encode(writer, value) {
    writer.bytes(encodeText(value))
    writer.u8(0)
  },
  decode: reader => reader.text(),
}

export const bytes: Codec<Uint8Array> = {
  encode: (writer, value) => writer.bytes(value),
  decode: reader => reader.bytes(reader.remaining),
}

/** An attribute that says something by being there. `false` is written as absent. */
export const flag: Codec<true> = { encode() {}, decode: () => true }

/** A C structure: fields in order, `pad` bytes of zeros where the structure has holes. */
export function struct<F extends Record<string, Codec<number> | Codec<bigint> | number>>(
  fields: F,
): Codec<StructValue<F>> {
  const entries = Object.entries(fields)
  return {
    encode(writer, value) {
      for (const [name, field] of entries) {
        if (typeof field === 'number') writer.zeros(field)
        else (field as Codec<unknown>).encode(writer, (value as Record<string, unknown>)[name] ?? 0, {})
      }
    },
    decode(reader) {
      const value: Record<string, unknown> = {}
      for (const [name, field] of entries) {
        if (typeof field === 'number') reader.slice(field)
        else value[name] = field.decode(reader, {})
      }
      return value as StructValue<F>
    },
  }
}

/** Fields that are left out are zero. Keys that stand for padding have a number of bytes for a codec. */
export type StructValue<F> = {
  [K in keyof F as F[K] extends number ? never : K]?: F[K] extends Codec<infer V> ? V : never
}

type Entries = Readonly<Record<string, readonly [type: number, codec: Codec<never> | Codec<unknown>]>>
// biome's noExplicitAny has no place for an existential; `never` in the encoder's position and `unknown` in the decoder's
// are what every Codec<T> satisfies.
type ValueOf<C> = C extends { decode(reader: ByteReader, siblings: Readonly<Record<string, unknown>>): infer V }
  ? V
  : never

export interface AttributeTable<E extends Entries> {
  /** "IFLA" for IFLA_MTU. */
  readonly prefix: string
  readonly entries: E
  /** For decoding. */
  find(type: number): readonly [name: string, codec: Codec<unknown>] | undefined
}

/** Values by attribute. What the kernel sends beyond the table is passed over. */
export type Values<T> = T extends AttributeTable<infer E> ? { [K in keyof E]?: ValueOf<E[K][1]> | undefined } : never

export function attributeTable<const E extends Entries>(prefix: string, entries: E): AttributeTable<E> {
  // Made at the first use: of all the tables that a plugin loads, it decodes a few.
  let byType: Map<number, readonly [string, Codec<unknown>]> | undefined
  const find = (type: number) => {
    if (byType === undefined) {
      byType = new Map()
      for (const name in entries) {
        const entry = entries[name]
        if (entry !== undefined) byType.set(entry[0], [name, entry[1] as Codec<unknown>])
      }
    }
    return byType.get(type)
  }
  return { prefix, entries, find }
}

/** The kernel's spelling: ("IFLA", "numTxQueues") gives IFLA_NUM_TX_QUEUES. */
export function kernelName(prefix: string, name: string): string {
  return `${prefix}_${name.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()}`
}

const NLA_F_NESTED = 0x8000
/** Without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff

/** Writes one attribute: header, payload, padding. */
export function encodeAttribute(
  writer: ByteWriter,
  type: number,
  codec: Codec<unknown>,
  value: unknown,
  siblings: Readonly<Record<string, unknown>>,
): void {
  // struct nlattr: u16 length with header and without padding, u16 type.
  const start = writer.length
  writer.u16(0)
  writer.u16(codec.nested ? type | NLA_F_NESTED : type)
  codec.encode(writer, value, siblings)
  if (writer.length - start > 0xffff)
    throw new RangeError(`netlink attribute of ${writer.length - start} bytes, 65535 at most`)
  writer.patchU16(start, writer.length - start)
  writer.align(4)
}

/** Writes the values in the order of their keys. */
export function encodeAttributes<E extends Entries>(
  writer: ByteWriter,
  table: AttributeTable<E>,
  values: Values<AttributeTable<E>>,
): void {
  const record = values as Readonly<Record<string, unknown>>
  for (const name in record) {
    const value = record[name]
    if (value === undefined) continue
    const entry = table.entries[name]
    if (entry === undefined) throw new TypeError(`${table.prefix} has no attribute "${name}"`)
    const codec = entry[1] as Codec<unknown>
    if (!codec.repeated) encodeAttribute(writer, entry[0], codec, value, record)
    else for (const element of value as unknown[]) encodeAttribute(writer, entry[0], codec, element, record)
  }
}

/** Calls back for every attribute, its type without flags. The callback takes or skips `length` bytes of the reader. */
function walkAttributes(reader: ByteReader, each: (type: number, length: number) => void): void {
  while (reader.remaining >= 4) {
    const length = reader.u16()
    const type = reader.u16() & NLA_TYPE_MASK
    if (length < 4) throw new DecodeError(`attribute ${type} has length ${length}`, reader.offset - 4)
    each(type, length - 4)
    reader.align(4)
  }
}

export function decodeAttributes<E extends Entries>(
  reader: ByteReader,
  table: AttributeTable<E>,
): Values<AttributeTable<E>> {
  const values: Record<string, unknown> = {}
  walkAttributes(reader, (type, length) => {
    const entry = table.find(type)
    if (entry === undefined) {
      reader.skip(length)
      return
    }
    const [name, codec] = entry
    const value = codec.decode(reader.slice(length), values)
    if (!codec.repeated) values[name] = value
    else if (Array.isArray(values[name])) values[name].push(value)
    else values[name] = [value]
  })
  return values as Values<AttributeTable<E>>
}

/** Attributes within an attribute. */
export function nested<E extends Entries>(table: AttributeTable<E>): Codec<Values<AttributeTable<E>>> {
  return {
    nested: true,
    encode: (writer, values) => encodeAttributes(writer, table, values),
    decode: reader => decodeAttributes(reader, table),
  }
}

/** A structure followed by attributes, as in VETH_INFO_PEER. */
export function structThenAttributes<H, E extends Entries>(
  header: Codec<H>,
  table: AttributeTable<E>,
): Codec<{ header: H; attributes: Values<AttributeTable<E>> }> {
  return {
    nested: true,
    encode(writer, value) {
      header.encode(writer, value.header, {})
      encodeAttributes(writer, table, value.attributes)
    },
    decode: reader => ({ header: header.decode(reader, {}), attributes: decodeAttributes(reader, table) }),
  }
}

/** The same kind of attribute repeated, each under the type `elementType` (NFTA_LIST_ELEM is 1). */
export function list<T>(elementType: number, element: Codec<T>): Codec<T[]> {
  return {
    nested: true,
    encode(writer, values) {
      for (const value of values) encodeAttribute(writer, elementType, element as Codec<unknown>, value, {})
    },
    decode(reader) {
      const values: T[] = []
      walkAttributes(reader, (_, length) => values.push(element.decode(reader.slice(length), {})))
      return values
    },
  }
}

/** An attribute that may occur several times at its level, each time with one element of the list. */
export function repeated<T>(element: Codec<T>): Codec<T[]> {
  // Encoder and decoder of a table see `repeated` and pass elements, not lists.
  return { ...(element as unknown as Codec<T[]>), repeated: true }
}

/**
 * Attributes whose table depends on a sibling that comes before them: IFLA_INFO_DATA on IFLA_INFO_KIND, NFTA_EXPR_DATA
 * on NFTA_EXPR_NAME. A sibling that names no table here is carried as bare bytes under `raw`.
 */
export function variant<const T extends Readonly<Record<string, AttributeTable<Entries>>>>(
  sibling: string,
  tables: () => T,
): Codec<VariantValue<T>> {
  const choose = (siblings: Readonly<Record<string, unknown>>) => tables()[String(siblings[sibling])]
  return {
    nested: true,
    encode(writer, value, siblings) {
      const table = choose(siblings)
      if (table !== undefined) encodeAttributes(writer, table, value as Values<AttributeTable<Entries>>)
      else if ('raw' in value && value.raw instanceof Uint8Array) writer.bytes(value.raw)
      else throw new TypeError(`netlink: no attributes are known for ${sibling} "${String(siblings[sibling])}"`)
    },
    decode(reader, siblings) {
      const table = choose(siblings)
      const value = table === undefined ? { raw: reader.bytes(reader.remaining) } : decodeAttributes(reader, table)
      return value as VariantValue<T>
    },
  }
}

export type VariantValue<T> = { [K in keyof T]: Values<T[K]> }[keyof T] | { raw: Uint8Array }
