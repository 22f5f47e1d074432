import t from 'tap'
import { CniError, ErrorCode } from '../../../lib/cni/errors.ts'
import { toCniError } from '../../../lib/cni/failure.ts'
import { Errno, SysError } from '../../../lib/sys/errno.ts'
import { LockTimeoutError } from '../../../lib/sys/lock.ts'

t.test('a CniError stays the same object', async t => {
  const error = new CniError(7, 'bad')
  t.equal(toCniError(error), error)
})

t.test('what may pass by itself has code 11: busy, again, a lock held too long', async t => {
  for (const error of [
    new SysError('x', Errno.EAGAIN),
    new SysError('x', Errno.EBUSY),
    new LockTimeoutError('/run/lock', 5),
    Object.assign(new Error('x'), { errno: -Errno.EBUSY }),
  ]) {
    t.equal(toCniError(error).code, ErrorCode.tryAgainLater, error.message)
  }
})

t.test('a refused system call has code 5, a refused netlink request 100', async t => {
  t.match(toCniError(new SysError('open "/x"', Errno.EROFS)), {
    code: 5,
    message: /EROFS/,
    details: /mount them writable/,
  })
  const refused = Object.assign(new Error('add link'), { name: 'NetlinkError', errno: Errno.EPERM })
  t.match(toCniError(refused), { code: 100, details: /needs root/, cause: refused })
})

t.test('anything else is our own defect: code 199, with the stack', async t => {
  t.match(toCniError(new TypeError('x')), { code: 199, message: 'x', details: /TypeError: x\n.*at / })
  t.match(toCniError('text'), { code: 199, message: 'thrown: text' })
})

t.test('no code is used twice, and none is 999', async t => {
  const codes = Object.values(ErrorCode)
  t.equal(new Set(codes).size, codes.length)
  t.notOk(codes.some(code => Number(code) === 999))
})
