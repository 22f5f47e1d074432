import { existsSync } from 'node:fs'
import t from 'tap'
import type { Network } from '../../../lib/runtime/index.ts'
import { addNetwork, gcNetwork, networkStatus, networkVersions, parseConflist } from '../../../lib/runtime/index.ts'
import type { FakePlugins } from './fake-plugins.ts'
import { fakePlugins, writeFiles } from './fake-plugins.ts'

function network(more: Record<string, unknown> = {}): Network {
  const plugins = [{ type: 'bridge', capabilities: { ips: true } }, { type: 'portmap' }]
  return parseConflist(JSON.stringify({ cniVersion: '1.1.0', name: 'demo', plugins, ...more }))
}

async function attach(fakes: FakePlugins, containerId: string, net = network()): Promise<void> {
  await addNetwork(fakes.runtime, net, {
    containerId,
    ifname: 'eth0',
    netns: `/run/netns/${containerId}`,
    args: [['K', containerId]],
    capabilityArgs: { ips: ['10.1.0.5'] },
  })
}

const c1 = { containerId: 'c1', ifname: 'eth0' }
const c2 = { containerId: 'c2', ifname: 'eth0' }

t.test('GC deletes the cached attachments that are not valid, as they were added, then asks every plugin', async t => {
  const fakes = fakePlugins(t)
  await attach(fakes, 'c1')
  await attach(fakes, 'c2')
  await attach(fakes, 'c3', network({ name: 'other' }))
  writeFiles(fakes.cache, { 'results/demo-bare-eth0': { cniVersion: '1.0.0' } })
  const report = await gcNetwork(fakes.runtime, network(), [c1])
  t.same(report, { deleted: [c2], forwarded: true })
  t.same(fakes.order().slice(6), ['portmap DEL', 'bridge DEL', 'bridge GC', 'portmap GC'])
  const [, del, gc] = fakes.calls().slice(6)
  t.match(del?.environment, { CNI_CONTAINERID: 'c2', CNI_NETNS: '/run/netns/c2', CNI_ARGS: 'K=c2' })
  t.match(del?.input, { runtimeConfig: { ips: ['10.1.0.5'] }, prevResult: { interfaces: [{ name: 'portmap' }] } })
  const list = [{ containerID: 'c1', ifname: 'eth0' }]
  t.match(gc?.input, { name: 'demo', 'cni.dev/valid-attachments': list, 'cni.dev/attachments': list })
  t.match(gc?.environment, { CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '', CNI_ARGS: '', CNI_PATH: fakes.bin })
  t.ok(existsSync(`${fakes.cache}/results/demo-c1-eth0`))
  t.ok(existsSync(`${fakes.cache}/results/other-c3-eth0`))
  t.notOk(existsSync(`${fakes.cache}/results/demo-c2-eth0`))
})

t.test('GC without a list removes nothing, and gives the plugins none', async t => {
  const fakes = fakePlugins(t)
  await attach(fakes, 'c1')
  t.same(await gcNetwork(fakes.runtime, network(), undefined), { deleted: [], forwarded: true })
  t.same(fakes.order().slice(2), ['bridge GC', 'portmap GC'])
  t.notOk('cni.dev/valid-attachments' in (fakes.calls()[2]?.input ?? {}))
})

t.test('GC with an empty list removes all', async t => {
  const fakes = fakePlugins(t)
  await attach(fakes, 'c1')
  t.same((await gcNetwork(fakes.runtime, network(), [])).deleted, [c1])
})

t.test('GC below 1.1.0 only deletes; disabled, it does nothing', async t => {
  const fakes = fakePlugins(t)
  await attach(fakes, 'c1')
  t.same(await gcNetwork(fakes.runtime, network({ disableGC: true }), []), { deleted: [], forwarded: false })
  t.equal(fakes.order().length, 2)
  const old = await gcNetwork(fakes.runtime, network({ cniVersion: '1.0.0' }), [])
  t.same(old, { deleted: [c1], forwarded: false })
  t.same(fakes.order().slice(2), ['portmap DEL', 'bridge DEL'])
})

t.test('GC goes on after failures and reports all of them at the end', async t => {
  const fakes = fakePlugins(t)
  await attach(fakes, 'c1')
  await attach(fakes, 'c2')
  fakes.answer('portmap', 'DEL', `[ $CNI_CONTAINERID = c2 ] || { echo '{"code": 11, "msg": "busy"}'; exit 1; }`)
  fakes.answer('bridge', 'GC', `echo '{"code": 100, "msg": "no"}'; exit 1`)
  await t.rejects(gcNetwork(fakes.runtime, network(), []), {
    code: 11,
    message: 'GC of network "demo" is not complete: 2 of its steps failed',
    details: 'DEL of c1/eth0: busy\nplugin "bridge": no',
  })
  t.same(fakes.order().slice(-2), ['bridge GC', 'portmap GC'])
  t.notOk(existsSync(`${fakes.cache}/results/demo-c2-eth0`))
})

t.test('STATUS asks the plugins up to the first that is not ready', async t => {
  const fakes = fakePlugins(t)
  t.equal(await networkStatus(fakes.runtime, network()), true)
  t.same(fakes.order(), ['bridge STATUS', 'portmap STATUS'])
  t.same(fakes.calls()[0]?.input, { type: 'bridge', name: 'demo', cniVersion: '1.1.0' })
  fakes.answer('bridge', 'STATUS', `echo '{"code": 50, "msg": "pool exhausted"}'; exit 1`)
  await t.rejects(networkStatus(fakes.runtime, network()), { code: 50, plugin: 'bridge', message: 'pool exhausted' })
  t.equal(fakes.order().length, 3)
})

t.test('STATUS below 1.1.0 asks nobody', async t => {
  const fakes = fakePlugins(t)
  t.equal(await networkStatus(fakes.runtime, network({ cniVersion: '1.0.0' })), false)
  t.same(fakes.order(), [])
})

t.test('VERSION is asked of every executable once, with the dummies that old plugins insist on', async t => {
  const fakes = fakePlugins(t)
  fakes.answer('bridge', 'VERSION', `echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}'`)
  fakes.answer('portmap', 'VERSION', `echo '{"code": 4, "msg": "unknown CNI_COMMAND: VERSION"}'; exit 1`)
  const twice = network({ plugins: [{ type: 'bridge' }, { type: 'portmap' }, { type: 'bridge' }] })
  t.same(await networkVersions(fakes.runtime, twice), [
    { type: 'bridge', file: `${fakes.bin}/bridge`, supportedVersions: ['1.0.0', '1.1.0'] },
    { type: 'portmap', file: `${fakes.bin}/portmap`, supportedVersions: ['0.1.0'] },
  ])
  const calls = fakes.calls()
  t.equal(calls.length, 2)
  t.match(calls[0]?.environment, { CNI_COMMAND: 'VERSION', CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy', CNI_PATH: 'dummy' })
  t.same(calls[0]?.input, { cniVersion: '1.1.0' })
})

t.test('VERSION that fails otherwise is an error', async t => {
  const fakes = fakePlugins(t)
  fakes.answer('bridge', 'VERSION', 'exit 1')
  // All are asked at once: the other must not fail first.
  fakes.answer('portmap', 'VERSION', `echo '{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0"]}'`)
  await t.rejects(networkVersions(fakes.runtime, network()), { code: 106, plugin: 'bridge' })
})
