/** Full disks: a file system of a few pages, in a mount namespace that ends with this process. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { libc } from '#libc'
import { toCniError } from '../../../lib/cni/failure.ts'
import { NetworkDirectory } from './fixture.ts'

const CLONE_NEWNS = 0x00020000

if (libc.unshare(CLONE_NEWNS) !== 0) throw new Error(`a mount namespace of its own needs root (errno ${libc.errno()})`)
execFileSync('mount', ['--make-rprivate', '/'])

const mountPoint = mkdtempSync(join(tmpdir(), 'cnikit-full-'))
t.teardown(() => {
  execFileSync('umount', [mountPoint])
  rmSync(mountPoint, { recursive: true })
})
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'cnikit-test', mountPoint])

const freeBlocks = () => statfsSync(mountPoint).bfree

/** Takes all but some blocks. */
function fillUp(leave: number): void {
  writeFileSync(join(mountPoint, 'ballast'), '')
  const page = Buffer.alloc(4096)
  while (freeBlocks() > leave) writeFileSync(join(mountPoint, 'ballast'), page, { flag: 'a' })
}

function network(): NetworkDirectory {
  for (const name of readdirSync(mountPoint)) rmSync(join(mountPoint, name), { recursive: true })
  return new NetworkDirectory(() => {}, { subnet: '10.1.0.0/24' }, mountPoint)
}

const codeOf = (run: () => unknown) => {
  try {
    run()
    return 0
  } catch (error) {
    return toCniError(error).code
  }
}

for (let left = 0; left <= 8; left++) {
  t.test(`with ${left} blocks left, the first ADD succeeds or leaves nothing`, async t => {
    const net = network()
    fillUp(left)
    const code = codeOf(() => net.add('a'))
    t.ok(code === 0 || code === 5, `code ${code}`)
    const files = existsSync(net.path) ? Object.values(net.taken()) : []
    t.strictSame(files, code === 0 ? ['a eth0'] : [])
    rmSync(join(mountPoint, 'ballast'))
    t.strictSame(net.add('a'), ['10.1.0.2'])
    t.strictSame(net.add('b'), ['10.1.0.3'])
  })
}

t.test('a disk that fills up refuses ADD with code 5, takes DEL, and loses no address', async t => {
  const net = network()
  fillUp(20)
  let count = 0
  while (codeOf(() => net.add(`c${count}`)) === 0) count++
  t.ok(count > 5, `${count} attachments fitted`)
  t.equal(
    codeOf(() => net.add('more')),
    5,
  )
  t.equal(Object.keys(net.taken()).length, count)
  t.notOk(readdirSync(net.path).includes('.index.new'))
  for (let number = 0; number < count; number++) net.check(`c${number}`)
  for (let number = 0; number < count; number += 2) net.del(`c${number}`)
  t.equal(Object.keys(net.taken()).length, count >> 1)
  t.equal(
    codeOf(() => net.add('again')),
    0,
  )
  t.equal(new Set(Object.values(net.taken())).size, (count >> 1) + 1)
})

t.test('a read-only file system refuses ADD with code 5 and says which file', async t => {
  const net = network()
  net.add('a')
  execFileSync('mount', ['-o', 'remount,ro', mountPoint])
  t.teardown(() => execFileSync('mount', ['-o', 'remount,rw', mountPoint]))
  try {
    net.add('b')
    t.fail('there was no error')
  } catch (error) {
    const { code, message, details } = toCniError(error)
    t.equal(code, 5)
    t.match(message, `open "${net.path}/lock": EROFS`)
    t.ok(details)
  }
})

t.test('where a data directory is a file, the error says so', async t => {
  const net = network()
  writeFileSync(net.path, '')
  t.equal(
    codeOf(() => net.add('a')),
    5,
  )
  t.equal(
    codeOf(() => net.status()),
    5,
  )
  rmSync(net.path)
})

t.test('DEL and GC give back all they can, and name what they cannot', async t => {
  const net = network()
  for (const id of ['a', 'b', 'c']) net.add(id)
  net.add('a', { ipam: { subnet: 'fd00::/64' } })
  net.write('note', 'a file that is mounted cannot be removed')
  for (const address of ['10.1.0.2', '10.1.0.3'])
    execFileSync('mount', ['--bind', join(net.path, 'note'), join(net.path, address)])
  net.write('note', 'a\r\neth0')
  t.teardown(() => execFileSync('umount', [join(net.path, '10.1.0.2'), join(net.path, '10.1.0.3')]))
  const messageOf = (run: () => void) => {
    try {
      run()
      return 'no error'
    } catch (error) {
      return toCniError(error).message
    }
  }
  const busy = (address: string) => `unlink "${net.path}/${address}": EBUSY (device or resource busy)`
  const refused = (run: () => void) =>
    messageOf(run).split('cannot give back 2 of the addresses: ')[1]?.split('; ').toSorted()
  t.strictSame(
    refused(() => net.del('a')),
    [busy('10.1.0.2'), busy('10.1.0.3')],
  )
  t.notOk(existsSync(join(net.path, 'fd00::2')))
  t.strictSame(
    refused(() => net.gc([])),
    [busy('10.1.0.2'), busy('10.1.0.3')],
  )
  t.notOk(existsSync(join(net.path, '10.1.0.4')))
})
