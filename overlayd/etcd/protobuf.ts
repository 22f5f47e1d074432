/**
 * Protocol buffers as data: a table names a message's fields once, and from it come the encoder, the decoder and the
 * TypeScript type. What etcd's messages need and no more: proto3, no packed numbers, no groups.
 *
 *     const keyValue = message({ key: bytes(1), modRevision: integer(3) })
 *     type KeyValue = ValueOf<typeof keyValue>  // { key?: Buffer, modRevision?: number }
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 */

const WireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

/** How one kind of field is written after its tag, and read. */
export interface Field<T> {
  readonly number: number
  readonly wireType: number
  readonly repeated: boolean
  encode(value: never): Uint8Array
  decode(reader: Reader): T
}

type Fields = Readonly<Record<string, Field<unknown>>>

/** Fields that are absent have their default: 0, "", false, none. */
export interface Message<F extends Fields> {
  readonly fields: F
  encode(value: ValueOf<Message<F>>): Buffer
  decode(data: Uint8Array): ValueOf<Message<F>>
}

export type ValueOf<M> =
  M extends Message<infer F> ? { readonly [K in keyof F]?: F[K] extends Field<infer T> ? T : never } : never

class Reader {
  readonly #data: Uint8Array
  offset = 0

  constructor(data: Uint8Array) {
    this.#data = data
  }

  get done(): boolean {
    return this.offset >= this.#data.length
  }

  /** Exact beyond 2^53, which identifiers of leases use. */
  varint(): bigint {
    let [value, shift] = [0n, 0n]
    for (;;) {
      const byte = this.#data[this.offset++]
      if (byte === undefined) throw new RangeError('protobuf: message ends inside a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(64, value)
      shift += 7n
    }
  }

  number(): number {
    let [value, factor] = [0, 1]
    const start = this.offset
    for (;;) {
      const byte = this.#data[this.offset++]
      if (byte === undefined) throw new RangeError('protobuf: message ends inside a number')
      value += (byte & 0x7f) * factor
      if (byte < 0x80) break
      factor *= 128
    }
    if (value <= Number.MAX_SAFE_INTEGER) return value
    this.offset = start
    return Number(this.varint())
  }

  bytes(): Buffer {
    const length = this.number()
    const start = this.offset
    if (start + length > this.#data.length) throw new RangeError('protobuf: message ends inside a field')
    this.offset += length
    return Buffer.from(this.#data.buffer, this.#data.byteOffset + start, length)
  }

  skip(wireType: number): void {
    if (wireType === WireType.varint) this.number()
    else if (wireType === WireType.bytes) this.bytes()
    else if (wireType === WireType.fixed64) this.offset += 8
    else if (wireType === WireType.fixed32) this.offset += 4
    else throw new RangeError(`protobuf: wire type ${wireType}`)
  }
}

function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

function withLength(data: Uint8Array): Uint8Array {
  return Buffer.concat([varint(data.length), data])
}

const single = { repeated: false } as const

/** int64 or an enumeration, as a number: revisions, limits, counts. */
export const integer = (number: number): Field<number> => ({
  ...single,
  number,
  wireType: WireType.varint,
  encode: (value: number) => varint(value),
  decode: reader => reader.number(),
})

/** int64 with all its bits: identifiers. */
export const identifier = (number: number): Field<bigint> => ({
  ...single,
  number,
  wireType: WireType.varint,
  encode: (value: bigint) => varint(value),
  decode: reader => reader.varint(),
})

export const boolean = (number: number): Field<boolean> => ({
  ...single,
  number,
  wireType: WireType.varint,
  encode: (value: boolean) => varint(value ? 1 : 0),
  decode: reader => reader.number() !== 0,
})

export const text = (number: number): Field<string> => ({
  ...single,
  number,
  wireType: WireType.bytes,
  encode: (value: string) => withLength(Buffer.from(value)),
  decode: reader => reader.bytes().toString(),
})

export const bytes = (number: number): Field<Uint8Array> => ({
  ...single,
  number,
  wireType: WireType.bytes,
  encode: (value: Uint8Array) => withLength(value),
  decode: reader => reader.bytes(),
})

export function nested<F extends Fields>(number: number, inner: Message<F>): Field<ValueOf<Message<F>>> {
  return {
    ...single,
    number,
    wireType: WireType.bytes,
    encode: (value: ValueOf<Message<F>>) => withLength(inner.encode(value)),
    decode: reader => inner.decode(reader.bytes()),
  }
}

/** Any number of the field; decoded in order. */
export function repeated<T>(field: Field<T>): Field<readonly T[]> {
  return { ...field, repeated: true } as unknown as Field<readonly T[]>
}

export function message<const F extends Fields>(fields: F): Message<F> {
  const byNumber = new Map(Object.entries(fields).map(([name, field]) => [field.number, { name, field }]))
  return {
    fields,
    encode(value) {
      const parts: Uint8Array[] = []
      for (const [name, field] of Object.entries(fields)) {
        const given: unknown = (value as Record<string, unknown>)[name]
        if (given === undefined) continue
        const tag = varint((field.number << 3) | field.wireType)
        for (const item of field.repeated ? (given as unknown[]) : [given]) parts.push(tag, field.encode(item as never))
      }
      return Buffer.concat(parts)
    },
    decode(data) {
      const value: Record<string, unknown> = {}
      const reader = new Reader(data)
      while (!reader.done) {
        const tag = reader.number()
        const known = byNumber.get(tag >>> 3)
        if (known === undefined || known.field.wireType !== (tag & 7)) reader.skip(tag & 7)
        else if (!known.field.repeated) value[known.name] = known.field.decode(reader)
        else {
          const list = value[known.name]
          if (Array.isArray(list)) list.push(known.field.decode(reader))
          else value[known.name] = [known.field.decode(reader)]
        }
      }
      return value as ValueOf<Message<F>>
    },
  }
}
