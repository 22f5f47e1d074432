import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { containerIdOf } from '../../../cnictl/settings.ts'
import { cnictl, ownNamespace } from './run-cnictl.ts'

const id = containerIdOf(ownNamespace)

/** A name that no interface of the machine has. */
const ifname = `cnk${process.pid % 1_000_000}`

const result = {
  cniVersion: '1.1.0',
  interfaces: [
    { name: 'cnikit0', mac: '02:42:0a:01:00:01' },
    { name: ifname, mac: '02:42:0a:01:00:05', sandbox: '/s' },
  ],
  ips: [{ interface: 1, address: '10.1.0.5/16', gateway: '10.1.0.1' }],
  routes: [{ dst: '0.0.0.0/0' }],
}

t.test('add shows the result as tables', async t => {
  const tool = cnictl(t)
  tool.answer('portmap', 'ADD', `echo '${JSON.stringify(result)}'`)
  const { code, stdout, stderr } = await tool.run('add', 'demo', ownNamespace, '-i', ifname)
  t.equal(stderr, '')
  t.equal(code, 0)
  t.equal(
    stdout,
    `${ifname} of container ${id} attached to network demo

INTERFACE  MAC                WHERE
cnikit0    02:42:0a:01:00:01  host
${ifname.padEnd(9)}  02:42:0a:01:00:05  /s

ADDRESS      ${'INTERFACE'.padEnd(ifname.length)}  GATEWAY
10.1.0.5/16  ${ifname.padEnd(9)}  10.1.0.1

ROUTE
0.0.0.0/0
`,
  )
})

t.test('add --json prints the result as the last plugin gave it', async t => {
  const tool = cnictl(t)
  tool.answer('portmap', 'ADD', `echo '${JSON.stringify(result)}'`)
  const { code, stdout } = await tool.run('add', 'demo', ownNamespace, '-i', ifname, '--json')
  t.equal(code, 0)
  t.same(JSON.parse(stdout), result)
})

t.test('add hands flags to the plugins', async t => {
  const tool = cnictl(t)
  const capabilities = '{"ips": ["10.1.0.9"], "unknown": 1}'
  await tool.run(
    'add',
    'demo',
    ownNamespace,
    '-i',
    ifname,
    '--container-id',
    'c1',
    '--args',
    'A=1;B=2',
    '--capability-args',
    capabilities,
  )
  t.match(tool.calls()[0], {
    environment: { CNI_CONTAINERID: 'c1', CNI_IFNAME: ifname, CNI_ARGS: 'A=1;B=2', CNI_NETNS: ownNamespace },
    input: { runtimeConfig: { ips: ['10.1.0.9'] } },
  })
  t.ok(existsSync(`${tool.cache}/results/demo-c1-${ifname}`))
})

t.test('add undoes a failed ADD by DEL, and shows the error of the plugin', async t => {
  const tool = cnictl(t)
  tool.answer(
    'portmap',
    'ADD',
    `printf %s '{"code": 11, "msg": "port 80 is busy", "details": "free it\\nor wait"}'; exit 1`,
  )
  const { code, stdout, stderr } = await tool.run('add', 'demo', ownNamespace, '-i', ifname)
  t.equal(code, 1)
  t.equal(stdout, '')
  t.equal(
    stderr,
    `cnictl: undone: ${ifname} of container ${id} was detached from network demo again
cnictl add: plugin "portmap" failed at ADD: port 80 is busy (code 11)
  free it
  or wait
`,
  )
  t.same(tool.order(), ['bridge ADD', 'portmap ADD', 'portmap DEL', 'bridge DEL'])
})

t.test('add --json prints the error document, with the plugin that said it', async t => {
  const tool = cnictl(t)
  tool.answer('bridge', 'ADD', `echo '{"code": 11, "msg": "busy"}'; exit 1`)
  const { code, stdout } = await tool.run('add', 'demo', ownNamespace, '-i', ifname, '--json')
  t.equal(code, 1)
  t.same(JSON.parse(stdout), { cniVersion: '1.1.0', code: 11, msg: 'busy', plugin: 'bridge', command: 'ADD' })
})

t.test('add says so when the undoing fails too', async t => {
  const tool = cnictl(t)
  tool.answer('bridge', 'ADD', `echo '{"code": 11, "msg": "busy"}'; exit 1`)
  tool.answer('bridge', 'DEL', `echo '{"code": 100, "msg": "stuck"}'; exit 1`)
  const { stderr } = await tool.run('add', 'demo', ownNamespace, '-i', ifname)
  t.match(stderr, /^cnictl: not undone: stuck; when the cause is removed, run "cnictl del" with the same arguments\n/)
})

t.test('add does not undo into an interface that was there before: DEL would take it away', async t => {
  const tool = cnictl(t)
  tool.answer('bridge', 'ADD', `echo '{"code": 11, "msg": "busy"}'; exit 1`)
  const { code, stderr } = await tool.run('add', 'demo', ownNamespace, '-i', 'lo')
  t.equal(code, 1)
  t.match(stderr, /^cnictl: not undone: lo was in the namespace before/)
  t.same(tool.order(), ['bridge ADD'])
})

t.test('add refuses what is no network namespace before any plugin is called', async t => {
  const tool = cnictl(t)
  writeFileSync(`${tool.root}/file`, '')
  for (const path of [`${tool.root}/file`, `${tool.root}/missing`, '/proc/self/ns/mnt', 'cnikit-no-such-namespace']) {
    const { code, stderr } = await tool.run('add', 'demo', path)
    t.equal(code, 1, path)
    t.match(stderr, /cannot|failed to open netns|namespace/, path)
    t.match(stderr, /code 8/, path)
  }
  delete tool.environment.CNI_NETNS_OVERRIDE
  const own = await tool.run('add', 'demo', ownNamespace)
  t.match(own.stderr, /should not be the same/)
  t.same(tool.order(), [])
})

t.test('a signal ends the plugin that runs, undoes, and shows in the exit code', async t => {
  const tool = cnictl(t)
  tool.answer('bridge', 'ADD', 'kill -TERM $PPID; sleep 60 & wait')
  const { code, stderr } = await tool.run('add', 'demo', ownNamespace, '-i', ifname)
  t.equal(code, 143)
  t.same(tool.order(), ['bridge ADD', 'portmap DEL', 'bridge DEL'])
  t.match(stderr, /^cnictl: undone: /)
})

t.test('del detaches with the arguments of ADD, and may be repeated', async t => {
  const tool = cnictl(t)
  await tool.run(
    'add',
    'demo',
    ownNamespace,
    '-i',
    ifname,
    '--args',
    'A=1',
    '--capability-args',
    '{"ips": ["10.1.0.9"]}',
  )
  const first = await tool.run('del', 'demo', ownNamespace, '-i', ifname)
  t.same(first, { code: 0, stdout: `${ifname} of container ${id} detached from network demo\n`, stderr: '' })
  const call = tool.calls().find(({ plugin, command }) => plugin === 'bridge' && command === 'DEL')
  t.match(call, { environment: { CNI_ARGS: 'A=1' }, input: { runtimeConfig: { ips: ['10.1.0.9'] }, prevResult: {} } })
  const second = await tool.run('del', 'demo', ownNamespace, '-i', ifname, '--json')
  t.equal(second.code, 0)
  t.same(JSON.parse(second.stdout), { command: 'DEL', network: 'demo', containerId: id, ifname, outcome: 'done' })
})

t.test('del works by the container alone, and without the configuration when the cache has it', async t => {
  const tool = cnictl(t)
  await tool.run('add', 'demo', ownNamespace, '-i', ifname, '--container-id', 'c1')
  rmSync(`${tool.config}/demo.conflist`)
  const { code, stderr } = await tool.run('del', 'demo', '--container-id', 'c1', '-i', ifname)
  t.equal(code, 0)
  t.match(stderr, /no network named "demo" .*; using the configuration that the attachment was made with/)
  t.equal(tool.calls().at(-1)?.environment.CNI_NETNS, ownNamespace)
})

t.test('del without the configuration and without the cache fails with what there is', async t => {
  const tool = cnictl(t)
  const { code, stderr } = await tool.run('del', 'nothere', ownNamespace)
  t.equal(code, 3)
  t.match(stderr, /^cnictl del: no network named "nothere" in .*\n {2}networks there: demo\n$/)
})

t.test('del goes on with a torn cache, and removes it', async t => {
  const tool = cnictl(t)
  await tool.run('add', 'demo', ownNamespace, '-i', ifname)
  const file = `${tool.cache}/results/demo-${id}-${ifname}`
  writeFileSync(file, readFileSync(file).subarray(0, 20))
  const { code, stderr } = await tool.run('del', 'demo', ownNamespace, '-i', ifname)
  t.equal(code, 0)
  t.match(stderr, /going on without the result of ADD/)
  t.notOk(existsSync(file))
})

t.test('check asks the plugins, and its failure is that of the first', async t => {
  const tool = cnictl(t)
  await tool.run('add', 'demo', ownNamespace, '-i', ifname)
  const fine = await tool.run('check', 'demo', ownNamespace, '-i', ifname)
  t.same(fine, { code: 0, stdout: `${ifname} of container ${id} is in order on network demo\n`, stderr: '' })
  tool.answer('portmap', 'CHECK', `echo '{"code": 105, "msg": "the rule is gone"}'; exit 1`)
  const broken = await tool.run('check', 'demo', ownNamespace, '-i', ifname)
  t.equal(broken.code, 1)
  t.equal(broken.stderr, 'cnictl check: plugin "portmap" failed at CHECK: the rule is gone (code 105)\n')
})

t.test('check of what is not attached says what it compares with', async t => {
  const { code, stderr } = await cnictl(t).run('check', 'demo', ownNamespace, '-i', ifname)
  t.equal(code, 1)
  t.match(stderr, /nothing is known of container .*\n {2}CHECK compares with the result of ADD/)
})

t.test('check says that it is disabled', async t => {
  const tool = cnictl(t, { disableCheck: true })
  const { code, stdout } = await tool.run('check', 'demo', ownNamespace, '-i', ifname)
  t.equal(code, 0)
  t.match(stdout, /was not checked: "disableCheck" is set on network demo/)
  t.same(tool.order(), [])
})
