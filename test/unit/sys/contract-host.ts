/** Programs and digests. */

import assert from 'node:assert/strict'
import { writeFile } from '../../../lib/sys/file.ts'
import { sha512, spawnSync } from '../../../lib/sys/host.ts'
import { claim } from './claim.ts'

const environment = { PATH: '/usr/bin:/bin' }
const shell = (script: string, options: { input?: string; captureStderr?: boolean } = {}) =>
  spawnSync('/bin/sh', { arguments: ['-c', script], environment, ...options })

export function checkHost(directory: string): void {
  claim('sha512 is that of the UTF-8 text', () => {
    assert.equal(
      sha512('abc'),
      'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    )
    assert.equal(
      sha512('grüße €').slice(0, 16),
      spawnSync('/usr/bin/sha512sum', { environment, input: 'grüße €' }).stdout.slice(0, 16),
    )
  })

  claim('a program’s status, output and errors are told', () => {
    assert.deepEqual(shell('echo out; echo err >&2; exit 3', { captureStderr: true }), {
      status: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    })
    assert.equal(shell('kill -TERM $$').status, 128 + 15)
    assert.equal(shell('kill -KILL $$').status, 128 + 9)
  })

  claim('input and output may be long, and need not be read', () => {
    const input = 'äöü'.repeat(500_000)
    assert.equal(shell('cat', { input }).stdout, input)
    assert.deepEqual([shell('exit 0', { input }).status, shell('head -c 3', { input }).stdout.length], [0, 2])
  })

  claim('a program without input reads an empty one', () => {
    assert.equal(shell('cat').stdout, '')
  })

  claim('a program gets the environment that is given and nothing else', () => {
    const answer = spawnSync('/usr/bin/env', { environment: { ONLY: 'this', EMPTY: '' } })
    assert.deepEqual(answer.stdout.split('\n').filter(Boolean).sort(), ['EMPTY=', 'ONLY=this'])
  })

  claim('a program that cannot be started is an error with a code', () => {
    assert.throws(() => spawnSync(`${directory}/no-such-program`, { environment }), { code: 'ENOENT' })
    writeFile(`${directory}/no-program`, '#!/bin/sh\n')
    assert.throws(() => spawnSync(`${directory}/no-program`, { environment }), { code: 'EACCES' })
  })
}
