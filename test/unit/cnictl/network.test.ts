import { existsSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { writeFiles } from '../runtime/fake-plugins.ts'
import type { Cnictl } from './run-cnictl.ts'
import { cnictl, ownNamespace } from './run-cnictl.ts'

/** A cached attachment of network "demo". */
function cache(tool: Cnictl, containerId: string, netns: string, networkName = 'demo'): string {
  const name = `results/${networkName}-${containerId}-eth0`
  writeFiles(tool.cache, {
    [name]: {
      kind: 'cniCacheV1',
      containerId,
      config: '',
      ifName: 'eth0',
      networkName,
      netns,
      result: { cniVersion: '1.1.0' },
    },
  })
  return `${tool.cache}/${name}`
}

t.test('gc refuses to guess what is valid, and says how to tell it', async t => {
  const tool = cnictl(t)
  cache(tool, 'c1', '/run/netns/gone')
  const { code, stderr } = await tool.run('gc', 'demo')
  t.equal(code, 2)
  t.equal(
    stderr,
    `cnictl gc: which attachments are valid is not said, and all others would be removed
  give --valid CONTAINER/INTERFACE for each that stays, or --attachments-from-cache
See "cnictl gc --help".
`,
  )
  t.same(tool.order(), [])
})

t.test('gc --valid keeps what is named', async t => {
  const tool = cnictl(t)
  const kept = cache(tool, 'c1', '/x')
  const gone = cache(tool, 'c2', '/x')
  const foreign = cache(tool, 'c2', '/x', 'other')
  const { code, stdout } = await tool.run('gc', 'demo', '--valid', 'c1/eth0', '--valid', 'c9/net1')
  t.equal(code, 0)
  t.equal(
    stdout,
    `network demo: 2 attachments kept, 1 attachment deleted
  deleted c2/eth0
GC was passed to bridge, portmap
`,
  )
  t.ok(existsSync(kept))
  t.notOk(existsSync(gone))
  t.ok(existsSync(foreign))
  const list = [
    { containerID: 'c1', ifname: 'eth0' },
    { containerID: 'c9', ifname: 'net1' },
  ]
  t.same(tool.calls().at(-1)?.input['cni.dev/valid-attachments'], list)
})

t.test('gc --attachments-from-cache keeps those whose namespace exists, and those that name none', async t => {
  const tool = cnictl(t)
  writeFileSync(`${tool.root}/unmounted`, '')
  cache(tool, 'living', ownNamespace)
  cache(tool, 'missing', `${tool.root}/missing`)
  cache(tool, 'unmounted', `${tool.root}/unmounted`)
  cache(tool, 'unnamed', '')
  const { code, stdout } = await tool.run('gc', 'demo', '--attachments-from-cache', '--json')
  t.equal(code, 0)
  t.same(JSON.parse(stdout), {
    command: 'GC',
    network: 'demo',
    valid: [
      { containerId: 'living', ifname: 'eth0' },
      { containerId: 'unnamed', ifname: 'eth0' },
    ],
    deleted: [
      { containerId: 'missing', ifname: 'eth0' },
      { containerId: 'unmounted', ifname: 'eth0' },
    ],
    plugins: ['bridge', 'portmap'],
  })
})

t.test('gc --attachments-from-cache without a cache removes nothing', async t => {
  const tool = cnictl(t)
  const { code, stderr } = await tool.run('gc', 'demo', '--attachments-from-cache')
  t.equal(code, 2)
  t.match(stderr, /there is no cache: ".*\/cache\/results" does not exist/)
  t.same(tool.order(), [])
})

t.test('gc refuses a --valid that names no attachment', async t => {
  const tool = cnictl(t)
  for (const text of ['c1', 'c1/', '/eth0', '../x/eth0', 'c1/eth0/x', 'c1/0123456789abcdef']) {
    const { code, stderr } = await tool.run('gc', 'demo', '--valid', text)
    t.equal(code, 2, text)
    t.match(stderr, /write --valid CONTAINER\/INTERFACE/, text)
  }
  t.same(tool.order(), [])
})

t.test('gc says why plugins were not asked', async t => {
  const old = await cnictl(t, { cniVersion: '1.0.0' }).run('gc', 'demo', '--valid', 'c1/eth0')
  t.match(old.stdout, /plugins were not asked: version 1\.0\.0 of the configuration has no GC/)
  const disabled = await cnictl(t, { disableGC: true }).run('gc', 'demo', '--valid', 'c1/eth0')
  t.match(disabled.stdout, /nothing was done: "disableGC" is set/)
})

t.test('status says ready, not ready, and not known', async t => {
  const tool = cnictl(t)
  t.same(await tool.run('status', 'demo'), { code: 0, stdout: 'network demo is ready: bridge, portmap\n', stderr: '' })
  tool.answer('bridge', 'STATUS', `echo '{"code": 50, "msg": "pool exhausted", "details": "enlarge it"}'; exit 1`)
  t.same(await tool.run('status', 'demo'), {
    code: 1,
    stdout: '',
    stderr: 'cnictl status: plugin "bridge" failed at STATUS: pool exhausted (code 50)\n  enlarge it\n',
  })
  const old = await cnictl(t, { cniVersion: '0.4.0' }).run('status', 'demo', '--json')
  t.same(JSON.parse(old.stdout), {
    command: 'STATUS',
    network: 'demo',
    plugins: ['bridge', 'portmap'],
    outcome: 'unknown',
  })
})

t.test('version compares the plugins with the network', async t => {
  const tool = cnictl(t)
  tool.answer('bridge', 'VERSION', `echo '{"supportedVersions": ["1.0.0", "1.1.0"]}'`)
  tool.answer('portmap', 'VERSION', `echo '{"supportedVersions": ["0.4.0"]}'`)
  t.same(await tool.run('version', 'demo'), {
    code: 0,
    stdout: `network demo is called with version 1.1.0

PLUGIN   SPEAKS IT  VERSIONS     FILE
bridge   yes        1.0.0 1.1.0  ${tool.bin}/bridge
portmap  no         0.4.0        ${tool.bin}/portmap
`,
    stderr: '',
  })
})

t.test('a broken file beside the network is warned of, and stops nothing', async t => {
  const tool = cnictl(t)
  writeFiles(tool.config, { '00-broken.conflist': '{' })
  const { code, stderr } = await tool.run('status', 'demo')
  t.equal(code, 0)
  t.match(stderr, /^cnictl: passed over .*\/00-broken\.conflist: not JSON/)
})
