import { chmodSync, closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import type { PluginCall } from '../../../lib/runtime/index.ts'
import { runPlugin } from '../../../lib/runtime/index.ts'

function plugin(t: Test, script: string, mode = 0o755): PluginCall & { directory: string } {
  const directory = t.testdir({ plugin: script })
  const file = `${directory}/plugin`
  chmodSync(file, mode)
  const environment = { PATH: '/usr/bin:/bin' }
  return { directory, command: 'ADD', plugin: 'plugin', file, environment, input: '{}' }
}

/** Runs with this process's standard error collected. */
async function collectStderr<T>(run: () => Promise<T>): Promise<{ outcome: T; stderr: string }> {
  const original = process.stderr.write
  let stderr = ''
  process.stderr.write = (chunk: string | Uint8Array) => {
    stderr += Buffer.from(chunk).toString()
    return true
  }
  try {
    return { outcome: await run(), stderr }
  } finally {
    process.stderr.write = original
  }
}

t.test('input, output and status go through; standard error is also passed on', async t => {
  const call = plugin(t, '#!/bin/sh\ncat; echo "a log line" >&2; exit 3\n')
  const run = await collectStderr(() => runPlugin({ ...call, input: '{"name": "é"}' }))
  t.same(run.outcome, { status: 3, stdout: '{"name": "é"}', stderr: 'a log line\n' })
  const { stderr } = await collectStderr(() => runPlugin(call))
  t.equal(stderr, 'a log line\n')
})

t.test("this process's own environment is not passed on but through the call", async t => {
  process.env.CNIKIT_TEST_OWN = 'leaked'
  t.teardown(() => {
    delete process.env.CNIKIT_TEST_OWN
  })
  const call = plugin(t, '#!/bin/sh\nprintf "%s" "$CNIKIT_TEST_OWN$CNI_COMMAND"\n')
  const { stdout } = await runPlugin({ ...call, environment: { ...call.environment, CNI_COMMAND: 'ADD' } })
  t.equal(stdout, 'ADD')
})

t.test('a plugin that does not read its input is no failure', async t => {
  const input = JSON.stringify({ padding: 'x'.repeat(1 << 20) })
  const outcome = await runPlugin({ ...plugin(t, '#!/bin/sh\necho "{}"\n'), input })
  t.same(outcome, { status: 0, stdout: '{}\n', stderr: '' })
})

t.test('output larger than a pipe holds is taken whole', async t => {
  const { stdout } = await runPlugin(plugin(t, '#!/bin/sh\nhead -c 1000000 /dev/zero | tr "\\0" x\n'))
  t.equal(stdout.length, 1_000_000)
})

t.test('a signal that ended the plugin shows as 128 and its number', async t => {
  t.equal((await runPlugin(plugin(t, '#!/bin/sh\nkill -TERM $$\n'))).status, 143)
})

t.test('what cannot be started is told with the remedy', async t => {
  const cases: [string, number, RegExp, RegExp][] = [
    ['#!/bin/sh\n', 0o644, /"plugin" .* cannot be started: EACCES/, /chmod 755/],
    ['#!/nonexistent/interpreter\n', 0o755, /cannot be started: ENOENT/, /"#!" line/],
  ]
  for (const [script, mode, message, details] of cases) {
    await t.rejects(runPlugin(plugin(t, script, mode)), { code: 106, message, details })
  }
})

t.test('an executable that is still being written is tried again until it is done', async t => {
  const call = plugin(t, '')
  writeFileSync(call.file, readFileSync('/bin/true'))
  const writer = openSync(call.file, 'r+')
  let closed = false
  const timer = setTimeout(() => {
    closeSync(writer)
    closed = true
  }, 300)
  t.teardown(() => clearTimeout(timer))
  t.equal((await runPlugin(call)).status, 0)
  t.equal(closed, true, 'it could not run before')
})

t.test('a daemon that a plugin leaves behind does not hold up the answer', async t => {
  const call = plugin(t, '#!/bin/sh\nsleep 60 &\necho $! > "$(dirname "$0")/daemon"\necho "{}"\n')
  t.same(await runPlugin(call), { status: 0, stdout: '{}\n', stderr: '' })
  const daemon = Number(readFileSync(`${call.directory}/daemon`, 'utf8'))
  t.ok(process.kill(daemon, 'SIGKILL'), 'the daemon was still alive')
})

t.test('an abort ends the plugin with SIGTERM, which it may answer by undoing', async t => {
  const ending = new AbortController()
  const call = plugin(
    t,
    `#!/bin/sh
trap 'echo "{\\"code\\": 107, \\"msg\\": \\"undone\\"}"; kill $sleeper; exit 1' TERM
sleep 60 & sleeper=$!
echo ready >&2
wait
`,
  )
  const original = process.stderr.write
  t.teardown(() => {
    process.stderr.write = original
  })
  process.stderr.write = () => {
    ending.abort()
    return true
  }
  const outcome = await runPlugin({ ...call, signal: ending.signal })
  t.equal(outcome.status, 1)
  t.match(outcome.stdout, /"msg": "undone"/)
})
