/** Bytes on the wire: a growing writer and a bounded reader. Multi-byte values are in the host's order unless named "be". */

import { allocate, decodeText } from '../sys/bytes.ts'

// Bun and Node run on little-endian Linux only; a big-endian build would fail its first contract test here.
const LITTLE = true

export class ByteWriter {
  #bytes = allocate(1024)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Makes room for `count` more bytes and returns where they begin. Replaces the buffer and the view: call it first. */
  #extend(count: number): number {
    const start = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const larger = allocate(Math.max(this.#bytes.length * 2, this.#length))
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = new DataView(larger.buffer)
    }
    return start
  }

  u8(value: number): void {
    const start = this.#extend(1)
    this.#view.setUint8(start, value)
  }
  u16(value: number): void {
    const start = this.#extend(2)
    this.#view.setUint16(start, value, LITTLE)
  }
  u16be(value: number): void {
    const start = this.#extend(2)
    this.#view.setUint16(start, value)
  }
  u32(value: number): void {
    const start = this.#extend(4)
    this.#view.setUint32(start, value, LITTLE)
  }
  u32be(value: number): void {
    const start = this.#extend(4)
    this.#view.setUint32(start, value)
  }
  u64(value: bigint): void {
    const start = this.#extend(8)
    this.#view.setBigUint64(start, value, LITTLE)
  }
  u64be(value: bigint): void {
    const start = this.#extend(8)
    this.#view.setBigUint64(start, value)
  }
  bytes(value: Uint8Array): void {
    const start = this.#extend(value.length)
    this.#bytes.set(value, start)
  }
  zeros(count: number): void {
    this.#extend(count)
  }
  /** Zeros up to the next multiple of `alignment`. */
  align(alignment: number): void {
    this.#extend(-this.#length & (alignment - 1))
  }

  /** Overwrites a length field written before. */
  patchU16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, LITTLE)
  }
  patchU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, LITTLE)
  }

  /** What was written, as a view: valid until the next write. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length)
  }
}

/** A message from the kernel that is not what its type promises. */
export class DecodeError extends Error {
  /** Byte offset within the datagram. */
  readonly offset: number

  constructor(what: string, offset: number) {
    super(`netlink: ${what} at byte ${offset}`)
    this.name = 'DecodeError'
    this.offset = offset
  }
}

export class ByteReader {
  readonly #view: DataView
  readonly #end: number
  #offset: number

  constructor(view: DataView, offset: number, length: number) {
    if (length < 0 || offset + length > view.byteLength)
      throw new DecodeError(`${length} bytes announced, fewer there`, offset)
    this.#view = view
    this.#offset = offset
    this.#end = offset + length
  }

  get offset(): number {
    return this.#offset
  }
  get remaining(): number {
    return this.#end - this.#offset
  }

  #take(count: number): number {
    const start = this.#offset
    if (start + count > this.#end) throw new DecodeError(`${count} bytes wanted, ${this.#end - start} left`, start)
    this.#offset += count
    return start
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }
  u16(): number {
    return this.#view.getUint16(this.#take(2), LITTLE)
  }
  u16be(): number {
    return this.#view.getUint16(this.#take(2))
  }
  u32(): number {
    return this.#view.getUint32(this.#take(4), LITTLE)
  }
  u32be(): number {
    return this.#view.getUint32(this.#take(4))
  }
  i32(): number {
    return this.#view.getInt32(this.#take(4), LITTLE)
  }
  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), LITTLE)
  }
  u64be(): bigint {
    return this.#view.getBigUint64(this.#take(8))
  }
  /** A copy: the receive buffer is used again. */
  bytes(count: number): Uint8Array<ArrayBuffer> {
    const start = this.#take(count)
    const copy = allocate(count)
    copy.set(new Uint8Array(this.#view.buffer, this.#view.byteOffset + start, count))
    return copy
  }
  /** The rest as text, up to the first NUL. */
  text(): string {
    const bytes = this.bytes(this.remaining)
    const end = bytes.indexOf(0)
    return decodeText(end < 0 ? bytes : bytes.subarray(0, end))
  }
  /** A reader of the next `count` bytes, which this one skips. */
  slice(count: number): ByteReader {
    return new ByteReader(this.#view, this.#take(count), count)
  }
  skip(count: number): void {
    this.#take(count)
  }
  /** Skips padding; the last item of a message may lack it. */
  align(alignment: number): void {
    this.#offset = Math.min(this.#end, (this.#offset + alignment - 1) & -alignment)
  }
}
