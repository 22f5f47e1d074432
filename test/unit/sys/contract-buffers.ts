/** Buffers that are handed to libc stay where they are. */

import assert from 'node:assert/strict'
import { libc } from '#libc'
import { allocate, cString, decodeText, encodeText } from '../../../lib/sys/bytes.ts'
import { O, open, readFile, withDescriptor, writeFile } from '../../../lib/sys/file.ts'
import { claim } from './claim.ts'

/** Node.js is started with --expose-gc. */
function collectGarbage(): void {
  if (typeof globalThis.gc === 'function') globalThis.gc()
  else (globalThis as unknown as { Bun: { gc(force: boolean): void } }).Bun.gc(true)
}

export function checkBuffers(directory: string): void {
  const file = `${directory}/buffers`
  const sizes = [1, 2, 7, 8, 16, 63, 64, 100, 512, 999, 1000, 1001, 1024, 4096, 5000]

  claim('buffers survive garbage collection, whatever their size', () => {
    withDescriptor(open(file, O.RDWR | O.CREAT | O.TRUNC), fd => {
      for (let round = 0; round < 10; round++) {
        const buffers = Array.from({ length: 200 }, (_, number) => {
          const size = sizes[number % sizes.length] ?? 1
          return allocate(size).fill((number + round) & 255)
        })
        for (const buffer of buffers) assert.equal(libc.pwrite(fd, buffer, buffer.length, 0), buffer.length)
        collectGarbage()
        let garbage: Uint8Array[] = []
        for (let count = 0; count < 500; count++) garbage.push(allocate(count))
        garbage = []
        for (const [number, buffer] of buffers.entries()) {
          const expected = (number + round) & 255
          assert.equal(libc.pwrite(fd, buffer, buffer.length, 0), buffer.length)
          const back = allocate(buffer.length)
          collectGarbageNowAndThen(number)
          assert.equal(libc.pread(fd, back, back.length, 0), buffer.length)
          assert.ok(back.every(byte => byte === expected) && buffer.every(byte => byte === expected))
        }
        assert.equal(garbage.length, 0)
      }
    })
  })

  claim('what libc writes is seen through every view of the buffer, also one made before', () => {
    withDescriptor(open(file, O.RDWR | O.CREAT | O.TRUNC), fd => {
      const source = allocate(8)
      for (let round = 0; round < 20_000; round++) {
        new DataView(source.buffer).setUint32(0, round, true)
        assert.equal(libc.pwrite(fd, source, 8, 0), 8)
        const target = allocate(8)
        const before = new DataView(target.buffer)
        assert.equal(libc.pread(fd, target, 8, 0), 8)
        const after = new DataView(target.buffer, target.byteOffset, 8)
        const subarray = target.subarray(0, 4)
        assert.equal(before.getUint32(0, true), round)
        assert.equal(after.getUint32(0, true), round)
        assert.equal(new DataView(subarray.buffer, subarray.byteOffset).getUint32(0, true), round)
      }
    })
  })

  claim('a part of a buffer is written where it is', () => {
    writeFile(file, 'abcdefgh')
    withDescriptor(open(file, O.RDONLY), fd => {
      const buffer = allocate(16).fill(46)
      assert.equal(libc.pread(fd, buffer.subarray(4, 10), 6, 1), 6)
      assert.equal(decodeText(buffer), '....bcdefg......')
    })
  })

  claim('null is a null pointer', () => {
    // mount(2) with a null data argument, refused for its target.
    const [text, missing] = [cString('none'), cString(`${directory}/missing`)]
    assert.equal(libc.mount(text, missing, text, 0, null), -1)
    assert.equal(libc.errno(), 2)
  })

  claim('text goes to libc as UTF-8 with a final NUL, and no NUL within', () => {
    for (const text of ['', 'a', 'ü€😀', 'x'.repeat(4000)]) {
      const bytes = cString(text)
      assert.equal(decodeText(bytes.subarray(0, bytes.indexOf(0))), text)
      assert.equal(decodeText(encodeText(text)), text)
    }
    assert.throws(() => cString('a\0b'), TypeError)
    const path = `${directory}/Größe-😀`
    writeFile(path, 'ü€😀')
    assert.equal(readFile(path), 'ü€😀')
  })
}

function collectGarbageNowAndThen(number: number): void {
  if (number % 40 === 0) collectGarbage()
}
