/** Signals: calls that they interrupt, and those that are held back. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { libc } from '#libc'
import { allocate } from '../../../lib/sys/bytes.ts'
import { check } from '../../../lib/sys/call.ts'
import { Errno } from '../../../lib/sys/errno.ts'
import { spawnSync } from '../../../lib/sys/host.ts'
import { holdTerminatingSignals, pendingSignal } from '../../../lib/sys/signals.ts'
import { claim } from './claim.ts'

const AF_NETLINK = 16
const SOCK_RAW_CLOEXEC = 3 | 0o2000000
const SOL_SOCKET = 1
const SO_RCVTIMEO = 20

/** A socket on which nothing ever arrives; receiving gives up after 300 ms. */
function silentSocket(): number {
  const fd = check(
    () => 'open socket',
    () => libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, 0),
  )
  const timeout = allocate(16)
  new DataView(timeout.buffer).setBigInt64(8, 300_000n, true)
  check(
    () => 'set timeout',
    () => libc.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length),
  )
  return fd
}

export function checkSignals(): void {
  claim('a call that signals interrupt is made again until it has its answer', () => {
    const ignore = () => undefined
    process.on('SIGUSR2', ignore)
    const script = `while kill -USR2 ${libc.getpid()}; do sleep 0.02; done`
    const sender = spawn('sh', ['-c', script], { stdio: 'ignore' })
    const fd = silentSocket()
    const buffer = allocate(100)
    const receive = () => libc.recv(fd, buffer, buffer.length, 0)
    try {
      // Linux interrupts a call with a timeout whatever the handler's flags say.
      let interrupted = false
      for (let round = 0; round < 50 && !interrupted; round++) {
        assert.equal(receive(), -1)
        interrupted = libc.errno() === Errno.EINTR
      }
      assert.ok(interrupted, 'the bare call is interrupted')
      let calls = 0
      const stopAfter = 5
      assert.throws(
        () =>
          check(
            () => 'receive',
            () => {
              if (++calls === stopAfter) sender.kill('SIGKILL')
              return receive()
            },
          ),
        { code: 'EAGAIN' },
        'the time is up, and that is the only error',
      )
      assert.ok(calls >= stopAfter, `called ${calls} times`)
    } finally {
      sender.kill('SIGKILL')
      process.off('SIGUSR2', ignore)
      libc.close(fd)
    }
  })

  claim('terminating signals do not end the process from then on, and children take them as ever', () => {
    holdTerminatingSignals()
    assert.equal(pendingSignal(), undefined)
    for (const signal of ['HUP', 'INT', 'TERM']) {
      const sent = spawnSync('/bin/sh', { arguments: ['-c', `kill -${signal} ${libc.getpid()}`], environment: {} })
      assert.equal(sent.status, 0)
    }
    libc.usleep(20_000)
    // A thread that does not block them may have taken them: then they were ignored.
    assert.ok(['SIGHUP', 'SIGINT', 'SIGTERM', undefined].includes(pendingSignal()))
  })
}
