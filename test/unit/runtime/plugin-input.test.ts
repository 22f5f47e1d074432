import t from 'tap'
import { parseConflist, pluginInput } from '../../../lib/runtime/index.ts'

/** What a plugin with these keys is given. */
function input(plugin: string, additions: Parameters<typeof pluginInput>[2] = {}): Record<string, unknown> {
  const network = parseConflist(`{"cniVersion": "1.1.0", "name": "demo", "plugins": [${plugin}]}`)
  const [first] = network.plugins
  return first === undefined ? {} : (JSON.parse(pluginInput(network, first, additions)) as Record<string, unknown>)
}

t.test('name and version of the network replace those of the plugin; every other key passes through', async t => {
  t.same(
    input('{"type": "bridge", "name": "x", "cniVersion": "0.1.0", "ipam": {"type": "host-local"}, "nothing": null}'),
    {
      type: 'bridge',
      name: 'demo',
      cniVersion: '1.1.0',
      ipam: { type: 'host-local' },
      nothing: null,
    },
  )
})

t.test('runtimeConfig holds the capabilities that the plugin has and the runtime knows', async t => {
  const capabilityArgs = { ips: ['10.1.0.5'], mac: '0a:00:00:00:00:01', bandwidth: {}, toString: 'x' }
  const plugin =
    '{"type": "bridge", "capabilities": {"ips": true, "mac": false, "portMappings": true, "bandwidth": true}}'
  t.same(input(plugin, { capabilityArgs }), {
    type: 'bridge',
    name: 'demo',
    cniVersion: '1.1.0',
    runtimeConfig: { ips: ['10.1.0.5'], bandwidth: {} },
  })
})

t.test('without an intersection there is no runtimeConfig, and capabilities are left out in any spelling', async t => {
  const bare = { type: 'bridge', name: 'demo', cniVersion: '1.1.0' }
  t.same(
    input('{"type": "bridge", "Capabilities": {"ips": true, "constructor": true}}', { capabilityArgs: { mac: 'x' } }),
    bare,
  )
  t.same(input('{"type": "bridge", "capabilities": {}}', { capabilityArgs: { ips: [] } }), bare)
})

t.test('prevResult is passed as it is', async t => {
  const prevResult = { cniVersion: '1.1.0', interfaces: [{ name: 'eth0' }], more: { than: 'known' } }
  t.same(input('{"type": "tuning"}', { prevResult }).prevResult, prevResult)
})

t.test('valid attachments go under both names; no list is no key, an empty one is', async t => {
  const validAttachments = [{ containerId: 'c1', ifname: 'eth0' }]
  const list = [{ containerID: 'c1', ifname: 'eth0' }]
  t.match(input('{"type": "bridge"}', { validAttachments }), {
    'cni.dev/valid-attachments': list,
    'cni.dev/attachments': list,
  })
  t.same(input('{"type": "bridge"}', { validAttachments: [] })['cni.dev/valid-attachments'], [])
  t.notOk('cni.dev/valid-attachments' in input('{"type": "bridge"}'))
})

t.test('a key named __proto__ is a key like any other', async t => {
  const text = JSON.stringify(input('{"type": "bridge", "__proto__": {"polluted": true}}'))
  t.match(text, /"__proto__":\{"polluted":true\}/)
})
