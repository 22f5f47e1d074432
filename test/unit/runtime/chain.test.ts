import { existsSync, readFileSync, rmSync } from 'node:fs'
import t from 'tap'
import type { Attachment, Network } from '../../../lib/runtime/index.ts'
import { addNetwork, checkNetwork, delNetwork, parseConflist } from '../../../lib/runtime/index.ts'
import { defaultResult, fakePlugins, writeFiles } from './fake-plugins.ts'

const attachment: Attachment = {
  containerId: 'c1',
  ifname: 'eth0',
  netns: '/run/netns/blue',
  args: [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAME', 'web'],
  ],
  capabilityArgs: { ips: ['10.1.0.5'], portMappings: [{ hostPort: 8080 }] },
}

function network(more: Record<string, unknown> = {}): Network {
  return parseConflist(
    JSON.stringify({
      cniVersion: '1.1.0',
      name: 'demo',
      plugins: [
        { type: 'bridge', capabilities: { ips: true } },
        { type: 'portmap', capabilities: { portMappings: true } },
        { type: 'tuning' },
      ],
      ...more,
    }),
  )
}

t.test('ADD calls the plugins in order, hands each result on, and keeps the last', async t => {
  const fakes = fakePlugins(t)
  const result = await addNetwork(fakes.runtime, network(), attachment)
  t.same(fakes.order(), ['bridge ADD', 'portmap ADD', 'tuning ADD'])
  const [bridge, portmap, tuning] = fakes.calls()
  t.same(bridge?.input, { type: 'bridge', name: 'demo', cniVersion: '1.1.0', runtimeConfig: { ips: ['10.1.0.5'] } })
  t.match(portmap?.input, {
    runtimeConfig: { portMappings: [{ hostPort: 8080 }] },
    prevResult: defaultResult('bridge'),
  })
  t.same(tuning?.input, { type: 'tuning', name: 'demo', cniVersion: '1.1.0', prevResult: defaultResult('portmap') })
  t.same(result, defaultResult('tuning'))
  const cached: unknown = JSON.parse(readFileSync(`${fakes.cache}/results/demo-c1-eth0`, 'utf8'))
  t.match(cached, { kind: 'cniCacheV1', netns: '/run/netns/blue', result: defaultResult('tuning') })
})

t.test("plugins get the caller's environment with the protocol's variables", async t => {
  const fakes = fakePlugins(t)
  await addNetwork(
    {
      ...fakes.runtime,
      environment: { ...fakes.runtime.environment, CNI_ARGS: 'STALE=1', CNI_IFNAME: 'stale', OWN: 'kept' },
    },
    network(),
    attachment,
  )
  t.match(fakes.calls()[0]?.environment, {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/blue',
    CNI_IFNAME: 'eth0',
    CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=web',
    CNI_PATH: fakes.bin,
    OWN: 'kept',
    TRACEPARENT: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  })
})

t.test('ADD stops at the first failure, keeps nothing, and undoes nothing: DEL is owed by the caller', async t => {
  const fakes = fakePlugins(t)
  fakes.answer('portmap', 'ADD', `echo '{"code": 11, "msg": "busy", "details": "try again"}'; exit 1`)
  await t.rejects(addNetwork(fakes.runtime, network(), attachment), {
    name: 'PluginError',
    code: 11,
    message: 'busy',
    details: 'try again',
    plugin: 'portmap',
    command: 'ADD',
  })
  t.same(fakes.order(), ['bridge ADD', 'portmap ADD'])
  t.notOk(existsSync(`${fakes.cache}/results/demo-c1-eth0`))
})

t.test("a result without a version, and null, are of the configuration's version", async t => {
  const fakes = fakePlugins(t)
  fakes.answer('bridge', 'ADD', `echo '{"interfaces": [{"name": "eth0"}]}'`)
  fakes.answer('portmap', 'ADD', 'echo null')
  await addNetwork(fakes.runtime, network(), attachment)
  const [, portmap, tuning] = fakes.calls()
  t.same(portmap?.input.prevResult, { cniVersion: '1.1.0', interfaces: [{ name: 'eth0' }] })
  t.same(tuning?.input.prevResult, { cniVersion: '1.1.0' })
})

t.test('an answer that is no result is refused with its first characters', async t => {
  const cases: [string, RegExp][] = [
    ['echo "level=info starting"', /printed what is no JSON object: "level=info starting"/],
    ['true', /printed nothing where a JSON document belongs/],
    ['echo "[]"', /printed what is no JSON object: "\[\]"/],
    ['echo \'{"cniVersion": "1.1.0"}{"code": 7}\'', /printed what is no JSON object: .*\}\{/],
    ['echo \'{"ips": "10.1.0.5"}\'', /printed what is no result of CNI: .*ips/],
    ['echo \'{"ips": [{"address": "10.1.0.5"}]}\'', /printed what is no result of CNI: .*10\.1\.0\.5/],
    ['echo \'{"cniVersion": "7.0.0"}\'', /printed what is no result of CNI: .*"7\.0\.0"/],
    ['head -c 5000 /dev/zero | tr "\\0" x', /x{200}" \.\.\. \(5000 characters\)/],
  ]
  for (const [shell, message] of cases) {
    const fakes = fakePlugins(t)
    fakes.answer('bridge', 'ADD', shell)
    await t.rejects(addNetwork(fakes.runtime, network(), attachment), { code: 106, plugin: 'bridge', message }, shell)
  }
})

t.test('a failure without an error document is told by status, standard output or standard error', async t => {
  const cases: [string, RegExp, RegExp | undefined][] = [
    ['exit 3', /^ended with status 3 and without an error document$/, undefined],
    ['echo garbage; exit 1', /status 1 and .* but with "garbage"/, undefined],
    ['echo "panic: oops" >&2; exit 2', /^ended with status 2 and/, /its standard error: "panic: oops"/],
    ['kill -9 $$', /^ended with status 137/, undefined],
    [`echo '{"code": 0.5}'; exit 1`, /^failed with code 0\.5/, undefined],
    [`echo '{"msg": "no code"}'; exit 1`, /but with ".*no code/, undefined],
  ]
  for (const [shell, message, details] of cases) {
    const fakes = fakePlugins(t)
    fakes.answer('bridge', 'DEL', shell)
    await t.rejects(delNetwork(fakes.runtime, network(), attachment), { message, ...(details && { details }) }, shell)
  }
})

t.test('DEL calls the plugins in reverse, all with the result of ADD, and forgets it', async t => {
  const fakes = fakePlugins(t)
  await addNetwork(fakes.runtime, network(), attachment)
  await delNetwork(fakes.runtime, network(), attachment)
  t.same(fakes.order().slice(3), ['tuning DEL', 'portmap DEL', 'bridge DEL'])
  for (const call of fakes.calls().slice(3)) t.same(call.input.prevResult, defaultResult('tuning'), call.plugin)
  t.match(fakes.calls()[4]?.input.runtimeConfig, { portMappings: [{ hostPort: 8080 }] })
  t.notOk(existsSync(`${fakes.cache}/results/demo-c1-eth0`))
})

t.test('DEL of what was never attached succeeds, without a result and without a namespace', async t => {
  const fakes = fakePlugins(t)
  await delNetwork(fakes.runtime, network(), { ...attachment, netns: '' })
  t.same(fakes.order(), ['tuning DEL', 'portmap DEL', 'bridge DEL'])
  t.notOk('prevResult' in (fakes.calls()[0]?.input ?? {}))
  t.equal(fakes.calls()[0]?.environment.CNI_NETNS, '')
})

t.test('DEL stops at the first failure and keeps the result for the next attempt', async t => {
  const fakes = fakePlugins(t)
  await addNetwork(fakes.runtime, network(), attachment)
  fakes.answer('portmap', 'DEL', `echo '{"code": 5, "msg": "disk"}'; exit 1`)
  await t.rejects(delNetwork(fakes.runtime, network(), attachment), { code: 5, message: 'disk' })
  t.same(fakes.order().slice(3), ['tuning DEL', 'portmap DEL'])
  t.ok(existsSync(`${fakes.cache}/results/demo-c1-eth0`))
})

t.test('DEL below 0.4.0 is given no result', async t => {
  const fakes = fakePlugins(t)
  const old = network({ cniVersion: '0.3.1' })
  for (const name of ['bridge', 'portmap', 'tuning']) fakes.answer(name, 'ADD', `echo '{"cniVersion": "0.3.1"}'`)
  await addNetwork(fakes.runtime, old, attachment)
  await delNetwork(fakes.runtime, old, attachment)
  t.notOk('prevResult' in (fakes.calls()[3]?.input ?? {}))
})

t.test('a cached result that cannot be used is removed, and DEL goes on without it', async t => {
  for (const content of ['', '{"kind": "cniCacheV1"', '{"cniVersion": "7.0.0"}']) {
    const fakes = fakePlugins(t)
    writeFiles(fakes.cache, { 'results/demo-c1-eth0': content })
    await delNetwork(fakes.runtime, network(), attachment)
    t.same(fakes.order(), ['tuning DEL', 'portmap DEL', 'bridge DEL'])
    t.notOk('prevResult' in (fakes.calls()[0]?.input ?? {}))
    t.match(fakes.warnings, [/^going on without the result of ADD: /], content)
    t.notOk(existsSync(`${fakes.cache}/results/demo-c1-eth0`))
  }
})

t.test('a result cached in an older version is converted to that of the configuration', async t => {
  const fakes = fakePlugins(t)
  const old = { cniVersion: '0.4.0', ips: [{ version: '4', address: '10.1.0.5/16' }], dns: {} }
  writeFiles(fakes.cache, { 'results/demo-c1-eth0': old })
  await delNetwork(fakes.runtime, network(), attachment)
  t.same(fakes.calls()[0]?.input.prevResult, { cniVersion: '1.1.0', ips: [{ address: '10.1.0.5/16' }] })
})

t.test('CHECK calls the plugins in order with the result of ADD', async t => {
  const fakes = fakePlugins(t)
  await addNetwork(fakes.runtime, network(), attachment)
  t.equal(await checkNetwork(fakes.runtime, network(), attachment), true)
  t.same(fakes.order().slice(3), ['bridge CHECK', 'portmap CHECK', 'tuning CHECK'])
  for (const call of fakes.calls().slice(3)) t.same(call.input.prevResult, defaultResult('tuning'), call.plugin)
})

t.test('CHECK is refused below 0.4.0, and without a cached result; disabled, nobody is asked', async t => {
  const fakes = fakePlugins(t)
  await t.rejects(checkNetwork(fakes.runtime, network({ cniVersion: '0.3.1' }), attachment), {
    code: 1,
    message: 'configuration version "0.3.1" does not support the CHECK command',
  })
  await t.rejects(checkNetwork(fakes.runtime, network(), attachment), {
    code: 3,
    message: /nothing is known of container "c1"/,
  })
  t.equal(await checkNetwork(fakes.runtime, network({ disableCheck: true }), attachment), false)
  t.same(fakes.order(), [])
})

t.test('names that would leave the cache directory are refused before any plugin is called', async t => {
  const fakes = fakePlugins(t)
  for (const names of [
    { containerId: '../x' },
    { containerId: '' },
    { ifname: 'a/b' },
    { ifname: '0123456789abcdef' },
  ]) {
    for (const verb of [addNetwork, delNetwork, checkNetwork]) {
      await t.rejects(Promise.resolve(verb(fakes.runtime, network(), { ...attachment, ...names })), { code: 4 })
    }
  }
  t.same(fakes.order(), [])
})

t.test('a plugin that is not installed is named with the directories searched', async t => {
  const fakes = fakePlugins(t)
  rmSync(`${fakes.bin}/portmap`)
  await t.rejects(addNetwork(fakes.runtime, network(), attachment), { code: 106, message: /"portmap".*\/bin/ })
  t.same(fakes.order(), ['bridge ADD'])
})

t.test('a cache that cannot be written makes ADD fail, so that the caller detaches again', async t => {
  const fakes = fakePlugins(t)
  writeFiles(fakes.root, { occupied: 'a file' })
  const runtime = { ...fakes.runtime, cacheDirectory: `${fakes.root}/occupied` }
  await t.rejects(addNetwork(runtime, network(), attachment), { code: 5, message: /cannot be kept: / })
})
