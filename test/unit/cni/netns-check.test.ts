import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import t from 'tap'
import type { NetnsUse } from '../../../lib/cni/types.ts'
import { configWith, environmentFor, invoke } from './fake-process.ts'

const namespace = `cnikit-check-${process.pid}`
const directory = mkdtempSync('/tmp/cnikit-check-')
execFileSync('ip', ['netns', 'add', namespace])
t.teardown(() => {
  execFileSync('ip', ['netns', 'delete', namespace])
  rmSync(directory, { recursive: true })
})

const good = `/run/netns/${namespace}`
symlinkSync(good, `${directory}/link`)
symlinkSync('/proc/self/ns/net', `${directory}/own`)
writeFileSync(`${directory}/file`, '')
execFileSync('mkfifo', [`${directory}/fifo`])

const run = (command: string, netns: string, use: NetnsUse = 'container', more: Record<string, string> = {}) =>
  invoke({
    environment: environmentFor(command, { CNI_NETNS: netns, ...more }),
    config: configWith(),
    plugin: { netns: use },
  })

t.test('a network namespace is taken, by any path', async t => {
  for (const command of ['ADD', 'CHECK', 'DEL']) {
    for (const path of [good, `${directory}/link`]) {
      const { status, calls } = await run(command, path)
      t.equal(status, 0, `${command} ${path}`)
      t.equal(calls[0]?.request.netns, path)
    }
  }
})

const unusable: [path: string, reason: string][] = [
  [`${directory}/missing`, 'no such file or directory'],
  [`${directory}/file/below`, 'no such file or directory'],
  [`${directory}/file`, 'not a network namespace'],
  [`${directory}/fifo`, 'not a network namespace'],
  [directory, 'not a network namespace'],
  ['/dev/null', 'not a network namespace'],
  ['/proc/self/status', 'not a network namespace'],
  ['/proc/self/ns/mnt', 'a namespace, but not a network namespace'],
  ['/proc/self/ns/uts', 'a namespace, but not a network namespace'],
  ['dummy', 'no such file or directory'],
]

t.test('ADD and CHECK refuse what is no network namespace, with code 8, before the plugin runs', async t => {
  for (const command of ['ADD', 'CHECK']) {
    for (const [path, reason] of unusable) {
      const { status, document, calls } = await run(command, path)
      t.equal(status, 1)
      t.match(document, { code: 8, msg: `failed to open netns "${path}": ${reason}` }, `${command} ${path}`)
      t.same(calls, [])
    }
  }
})

t.test(
  'DEL succeeds whatever has become of the namespace, and for the plugin one that is gone has no path',
  async t => {
    for (const path of ['', ...unusable.map(([path]) => path)]) {
      const { status, calls } = await run('DEL', path)
      t.equal(status, 0, path)
      t.equal(calls[0]?.request.netns, '')
    }
    t.equal((await run('DEL', good)).calls[0]?.request.netns, good)
  },
)

t.test('an IPAM plugin, which enters no namespace, takes any path', async t => {
  for (const command of ['ADD', 'CHECK', 'DEL']) {
    for (const path of ['/dev/null', 'dummy', good]) t.equal((await run(command, path, 'any')).status, 0, path)
  }
})

t.test(
  "the plugin's own namespace is refused for every verb, with one document and before anything is done",
  async t => {
    for (const command of ['ADD', 'CHECK', 'DEL']) {
      for (const use of ['container', 'any'] as const) {
        for (const path of ['/proc/self/ns/net', `/proc/${process.pid}/ns/net`, `${directory}/own`]) {
          const { status, document, calls } = await run(command, path, use)
          t.equal(status, 1)
          t.match(
            document,
            { code: 8, msg: "plugin's netns and netns from CNI_NETNS should not be the same" },
            `${command} ${path}`,
          )
          t.same(calls, [])
        }
      }
    }
  },
)

t.test('CNI_NETNS_OVERRIDE allows it', async t => {
  for (const [value, status] of [
    ['1', 0],
    ['TRUE', 0],
    ['true', 0],
    ['0', 1],
    ['yes', 1],
    ['', 1],
  ] as const) {
    const outcome = await run('ADD', '/proc/self/ns/net', 'container', { CNI_NETNS_OVERRIDE: value })
    t.equal(outcome.status, status, value)
  }
})

t.test("a plugin of the host's own namespace takes that one by any path, or none", async t => {
  for (const command of ['ADD', 'CHECK', 'DEL']) {
    for (const path of ['/proc/self/ns/net', `/proc/${process.pid}/ns/net`, `${directory}/own`, '']) {
      const { status, calls } = await run(command, path, 'own')
      t.equal(status, 0, `${command} ${path}`)
      t.equal(calls[0]?.request.netns, path)
    }
  }
})

t.test('it refuses every other, and what is no namespace, whatever CNI_NETNS_OVERRIDE says', async t => {
  for (const command of ['ADD', 'CHECK']) {
    for (const more of [{}, { CNI_NETNS_OVERRIDE: '1' }]) {
      const { status, document, calls } = await run(command, good, 'own', more)
      t.equal(status, 1)
      t.match(document, { code: 8, msg: `namespace "${good}" is not the host's`, details: /host networking/ }, command)
      t.same(calls, [])
    }
    for (const [path, reason] of unusable) {
      const { document } = await run(command, path, 'own')
      t.match(document, { code: 8, msg: `failed to open netns "${path}": ${reason}` }, `${command} ${path}`)
    }
  }
})

t.test('its DEL succeeds with any namespace', async t => {
  for (const path of [good, ...unusable.map(([path]) => path)]) t.equal((await run('DEL', path, 'own')).status, 0, path)
})

t.test('the other variables stay required', async t => {
  const { document } = await invoke({ environment: { CNI_COMMAND: 'ADD' }, plugin: { netns: 'own' } })
  t.equal(document.msg, 'required env variables [CNI_CONTAINERID,CNI_IFNAME] missing')
})
