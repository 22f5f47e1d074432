import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import t from 'tap'

const run = new URL('../../../lib/cni/run.js', import.meta.url).href
const transaction = new URL('../../../lib/cni/transaction.js', import.meta.url).href

/** A plugin of its own process; its ADD is sent a signal in its first step. */
const program = `
import { runPlugin } from ${JSON.stringify(run)}
import { runTransaction } from ${JSON.stringify(transaction)}
import { spawnSync } from 'node:child_process'
import { writeSync } from 'node:fs'
const say = text => writeSync(2, text + '\\n')
const plugin = {
  name: 'process', about: 'test', supportedVersions: ['1.1.0'], netns: 'any',
  add(request) {
    const result = { ips: [{ address: '10.1.0.5/16' }] }
    if (!request.ifname.startsWith('SIG')) return result
    return runTransaction(request.environment, transaction => {
      transaction.step('one', () => spawnSync('kill', ['-s', request.ifname, String(process.pid)]), () => say('undone'))
      transaction.step('two', () => say('went on'))
      return result
    })
  },
  del() { say('DEL') }, check() {}, gc() {}, status() {},
}
runPlugin(plugin)
`

const config = '{"cniVersion":"1.1.0","name":"n","type":"process"}'

function start(ifname: string, stdout: 'pipe' | number) {
  const { NODE_EXTRA_CA_CERTS: _, ...environment } = process.env
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['pipe', stdout, 'pipe'],
    env: { ...environment, CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c', CNI_NETNS: '/dev/null', CNI_IFNAME: ifname },
  })
  const texts = { stdout: '', stderr: '' }
  child.stdout?.on('data', data => {
    texts.stdout += data
  })
  child.stderr?.on('data', data => {
    texts.stderr += data
  })
  child.stdin?.end(config)
  return { child, texts }
}

t.test('the process prints its result and ends with status 0', async t => {
  const { child, texts } = start('eth0', 'pipe')
  const [status] = await once(child, 'close')
  t.equal(status, 0, texts.stderr)
  t.strictSame(JSON.parse(texts.stdout), { cniVersion: '1.1.0', ips: [{ address: '10.1.0.5/16' }] })
})

t.test('a signal in the middle is no end in the middle: what was begun is finished, or undone', async t => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    const { child, texts } = start(signal, 'pipe')
    const [status, killedBy] = await once(child, 'close')
    t.equal(killedBy, null)
    // Node has threads of its own, and the kernel chooses which is given the signal; the executables have one thread.
    if (status === 0) {
      t.equal(texts.stderr, 'went on\n')
      t.match(JSON.parse(texts.stdout), { ips: [{ address: '10.1.0.5/16' }] })
    } else {
      t.equal(texts.stderr, 'undone\n')
      t.match(JSON.parse(texts.stdout), { code: 107, msg: `interrupted by ${signal} before "two"` })
    }
  }
})

t.test('a full disk under standard output undoes the ADD', async t => {
  const { child, texts } = start('eth0', openSync('/dev/full', 'w'))
  const [status] = await once(child, 'close')
  t.equal(status, 1)
  t.match(texts.stderr, /^DEL\n/)
  t.match(texts.stderr, 'cannot write the result: write descriptor 1: ENOSPC')
})

t.test('a closed pipe under standard output undoes the ADD, and does not kill it', async t => {
  const { child, texts } = start('eth0', 'pipe')
  child.stdout?.destroy()
  const [status, signal] = await once(child, 'close')
  t.equal(signal, null)
  t.equal(status, 1)
  t.match(texts.stderr, /^DEL\n/)
  t.match(texts.stderr, 'EPIPE')
})
