/** Files, directories, locks. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { libc } from '#libc'
import { allocate, encodeText } from '../../../lib/sys/bytes.ts'
import {
  FileType,
  listDirectory,
  makeDirectories,
  O,
  open,
  openExclusive,
  openIfExists,
  readAll,
  readAt,
  readFile,
  readFileIfExists,
  readLink,
  removeDirectoryIfExists,
  rename,
  replaceFile,
  statusOf,
  statusOfDescriptor,
  unlinkIfExists,
  withDescriptor,
  writeAll,
  writeAt,
  writeFile,
} from '../../../lib/sys/file.ts'
import { LockTimeoutError, withFileLock } from '../../../lib/sys/lock.ts'
import { claim } from './claim.ts'

export function checkFiles(root: string): void {
  const directory = `${root}/files`
  makeDirectories(directory)
  const path = (name: string) => `${directory}/${name}`

  claim('a file is read as it was written, however long', () => {
    for (const length of [0, 1, 4095, 4096, 4097, 1_000_000]) {
      const text = 'ä'.repeat(length)
      writeFile(path('text'), text)
      assert.equal(readFile(path('text')), text)
    }
  })

  claim('what does not exist is undefined or false where that is asked for, and ENOENT elsewhere', () => {
    for (const missing of [path('missing'), path('text/below'), path('missing/below')]) {
      assert.equal(readFileIfExists(missing), undefined)
      assert.equal(openIfExists(missing, O.RDONLY), undefined)
      assert.equal(statusOf(missing), undefined)
      assert.equal(readLink(missing), undefined)
      assert.equal(listDirectory(missing), undefined)
      assert.equal(unlinkIfExists(missing), false)
    }
    assert.equal(removeDirectoryIfExists(path('missing')), false)
    assert.throws(() => readFile(path('missing')), { name: 'SysError', code: 'ENOENT' })
    assert.throws(() => rename(path('missing'), path('other')), { code: 'ENOENT' })
  })

  claim('openExclusive() makes a file once', () => {
    const fd = openExclusive(path('once'))
    assert.ok(fd !== undefined)
    withDescriptor(fd, one => writeAll(one, encodeText('first')))
    assert.equal(openExclusive(path('once')), undefined)
    assert.equal(readFile(path('once')), 'first')
  })

  claim('replaceFile() replaces whole or not at all, and leaves nothing beside it', () => {
    replaceFile(path('kept'), 'old')
    replaceFile(path('kept'), 'new')
    assert.equal(readFile(path('kept')), 'new')
    makeDirectories(path('blocked/inside'))
    assert.throws(() => replaceFile(path('blocked'), 'text'), { name: 'SysError' })
    assert.deepEqual(
      listDirectory(directory)?.filter(name => name.endsWith('.tmp')),
      [],
    )
  })

  claim('parts of a file are read and written at their place', () => {
    withDescriptor(open(path('parts'), O.RDWR | O.CREAT), fd => {
      writeAt(fd, encodeText('0123456789'), 0)
      writeAt(fd, encodeText('ab'), 4)
      const bytes = allocate(20)
      assert.equal(readAt(fd, bytes, 3), 7)
      assert.equal(new TextDecoder().decode(bytes.subarray(0, 7)), '3ab6789')
      assert.equal(readAt(fd, bytes, 100), 0)
    })
  })

  claim('thousands of names are listed, each once, without "." and ".."', () => {
    const names = Array.from({ length: 3000 }, (_, number) => `${'long-name-'.repeat(5)}${number}`)
    makeDirectories(path('many/deep'))
    for (const name of names) writeFile(path(`many/${name}`), '')
    const listed = listDirectory(path('many')) ?? []
    assert.equal(listed.length, 3001)
    assert.deepEqual(new Set(listed), new Set([...names, 'deep']))
  })

  claim('directories are made with those above, and removed when empty', () => {
    makeDirectories(path('a/b/c'))
    makeDirectories(path('a/b/c'))
    assert.equal((statusOf(path('a/b/c'))?.mode ?? 0) & FileType.MASK, FileType.DIRECTORY)
    assert.throws(() => removeDirectoryIfExists(path('a/b')), { code: 'ENOTEMPTY' })
    assert.equal(removeDirectoryIfExists(path('a/b/c')), true)
    assert.throws(() => makeDirectories(path('text/below')), { name: 'SysError' })
  })

  claim('the identity of a file is that of its inode', () => {
    const before = statusOf(path('kept'))
    rename(path('kept'), path('moved'))
    assert.equal(statusOf(path('moved'))?.identity, before?.identity)
    withDescriptor(open(path('moved'), O.RDONLY), fd => {
      assert.deepEqual(statusOfDescriptor(fd), statusOf(path('moved')))
    })
    assert.notEqual(statusOf(path('text'))?.identity, before?.identity)
    assert.equal(readLink('/proc/self/ns/net')?.startsWith('net:['), true)
  })

  claim('a pipe is read to its end', () => {
    const fd = open('/proc/self/status', O.RDONLY)
    assert.ok(withDescriptor(fd, one => readAll(one)).length > 100)
  })

  claim('a lock held by another process is waited for, and given up in time', () => {
    const lock = path('lock')
    const holder = spawn('flock', ['--no-fork', lock, 'sleep', '60'], { stdio: 'ignore' })
    try {
      waitUntilHeld(lock)
      assert.throws(() => withFileLock(lock, () => undefined, { timeoutMs: 30 }), LockTimeoutError)
    } finally {
      holder.kill('SIGKILL')
    }
    assert.equal(
      withFileLock(lock, () => 'mine'),
      'mine',
    )
    assert.equal(
      withFileLock(lock, () => withFileLock(`${lock}2`, () => 'both')),
      'both',
    )
  })

  claim('a shared lock keeps out those who want it alone, and no others', () => {
    const lock = path('shared')
    withFileLock(
      lock,
      () => {
        assert.equal(
          withFileLock(lock, () => 'too', { shared: true }),
          'too',
        )
        assert.throws(() => withFileLock(lock, () => undefined, { timeoutMs: 10 }), LockTimeoutError)
      },
      { shared: true },
    )
  })
}

/** Until taking the lock fails. */
function waitUntilHeld(lock: string): void {
  for (let round = 0; round < 2000; round++) {
    try {
      withFileLock(lock, () => undefined, { timeoutMs: 0 })
    } catch (error) {
      if (error instanceof LockTimeoutError) return
      throw error
    }
    libc.usleep(5000)
  }
  throw new Error('nobody has taken the lock')
}
