/** Calls of libc: results, errno, numbers. */

import assert from 'node:assert/strict'
import { libc } from '#libc'
import { allocate, cString } from '../../../lib/sys/bytes.ts'
import { attempt, check } from '../../../lib/sys/call.ts'
import { bootTimeSeconds } from '../../../lib/sys/clock.ts'
import { Errno, type ErrnoName, SysError } from '../../../lib/sys/errno.ts'
import { close, O, open, readFile, statusOfDescriptor, withDescriptor } from '../../../lib/sys/file.ts'
import { libcSymbols } from '../../../lib/sys/libc-symbols.ts'
import { claim } from './claim.ts'

const TEBIBYTE = 2 ** 40

export function checkCalls(directory: string): void {
  const file = `${directory}/calls`

  claim('every symbol is a function', () => {
    for (const name of Object.keys(libcSymbols))
      assert.equal(typeof libc[name as keyof typeof libcSymbols], 'function', name)
  })

  const missing = cString(`${directory}/missing`)
  const present = cString(directory)
  const failures: [ErrnoName, () => number][] = [
    ['ENOENT', () => libc.open(missing, O.RDONLY, 0)],
    ['EISDIR', () => libc.open(present, O.WRONLY, 0)],
    ['EBADF', () => libc.close(-1)],
    ['EBADF', () => libc.read(1 << 20, allocate(1), 1)],
    ['EEXIST', () => libc.mkdir(present, 0o755)],
    ['ENOENT', () => libc.unlink(missing)],
    ['EINVAL', () => libc.setsockopt(1 << 20, 0, 0, null, 0) && libc.flock(1, 0)],
    ['EAFNOSUPPORT', () => libc.socket(9999, 1, 0)],
    ['EFAULT', () => libc.open(null, O.RDONLY, 0)],
  ]

  claim('errno is that of the call just made, thousands of times and whatever was called before', () => {
    for (let round = 0; round < 3000; round++) {
      for (const [name, call] of failures) {
        const result = call()
        assert.deepEqual([result, libc.errno()], [-1, Errno[name]], `round ${round}`)
      }
      assert.ok(libc.getpid() > 0)
    }
  })

  claim('the time since the start of the host is that of /proc/uptime', () => {
    const uptime = () => Number(readFile('/proc/uptime').split(' ')[0])
    const [before, now, after] = [uptime(), bootTimeSeconds(), uptime()]
    // /proc/uptime is cut to hundredths.
    assert.ok(before <= now && now < after + 0.01, `${before} ${now} ${after}`)
  })

  claim('a failure is minus one, also where the result has 64 bits', () => {
    assert.equal(libc.read(-1, allocate(1), 1), -1)
    assert.equal(libc.write(-1, allocate(1), 1), -1)
  })

  claim('check() throws with operation and errno; attempt() returns what is expected', () => {
    assert.throws(
      () =>
        check(
          () => 'do something',
          () => libc.open(missing, O.RDONLY, 0),
        ),
      (error: unknown) =>
        error instanceof SysError &&
        error.errno === Errno.ENOENT &&
        error.code === 'ENOENT' &&
        error.message === 'do something: ENOENT (no such file or directory)',
    )
    const tryIt = (expected: readonly number[]) =>
      attempt(
        expected,
        () => 'do something',
        () => libc.open(missing, O.RDONLY, 0),
      )
    assert.equal(tryIt([Errno.EACCES, Errno.ENOENT]), -Errno.ENOENT)
    assert.throws(() => tryIt([Errno.EACCES]), SysError)
  })

  claim('offsets and sizes beyond 32 bits are exact numbers', () => {
    withDescriptor(open(file, O.RDWR | O.CREAT | O.TRUNC), fd => {
      const text = cString('far away')
      for (const offset of [2 ** 31, 2 ** 32 + 5, TEBIBYTE + 3]) {
        assert.equal(libc.pwrite(fd, text, text.length, offset), text.length)
        const back = allocate(text.length)
        assert.equal(libc.pread(fd, back, back.length, offset), text.length)
        assert.deepEqual(back, text)
        assert.equal(statusOfDescriptor(fd).size, offset + text.length)
      }
      assert.equal(libc.ftruncate(fd, 5 * 2 ** 32), 0)
      assert.equal(statusOfDescriptor(fd).size, 5 * 2 ** 32)
      assert.equal(typeof libc.pread(fd, allocate(8), 8, 0), 'number')
    })
  })

  claim('a file’s mode and the flags of open arrive as they are', () => {
    withDescriptor(open(`${directory}/mode`, O.RDWR | O.CREAT | O.EXCL, 0o640), fd => {
      assert.equal(statusOfDescriptor(fd).mode & 0o7777, 0o640)
    })
    assert.throws(() => open(`${directory}/mode`, O.RDWR | O.CREAT | O.EXCL), { code: 'EEXIST' })
  })

  claim('descriptors are closed when a function that uses them throws', () => {
    const fd = open(file, O.RDONLY)
    close(fd)
    for (let round = 0; round < 2000; round++) {
      assert.throws(() =>
        withDescriptor(open(file, O.RDONLY), () => {
          throw new Error('as planned')
        }),
      )
    }
    const next = open(file, O.RDONLY)
    close(next)
    assert.equal(next, fd)
  })
}
