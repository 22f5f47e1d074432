import t from 'tap'
import { CniError } from '../../../lib/cni/errors.ts'
import { parseConflist, parsePluginConfig, parseSinglePlugin, withPlugins } from '../../../lib/runtime/index.ts'
import { compareVersions } from '../../../lib/runtime/version.ts'

const bridge = { type: 'bridge' }

function list(more: Record<string, unknown> = {}): string {
  return JSON.stringify({ cniVersion: '1.0.0', name: 'demo', plugins: [bridge], ...more })
}

t.test('a list is read with its plugins as they were written', async t => {
  const text = list({
    plugins: [
      { type: 'bridge', isGateway: true },
      { type: 'portmap', capabilities: { portMappings: true, off: false } },
    ],
  })
  t.match(parseConflist(text), {
    name: 'demo',
    cniVersion: '1.0.0',
    disableCheck: false,
    disableGc: false,
    loadOnlyInlinedPlugins: false,
    plugins: [
      { type: 'bridge', capabilities: [], raw: { type: 'bridge', isGateway: true } },
      { type: 'portmap', capabilities: ['portMappings'] },
    ],
    text,
  })
})

t.test('the version is the newest of cniVersion and cniVersions that is not above 1.1.0', async t => {
  const cases: [Record<string, unknown>, string][] = [
    [{ cniVersion: '0.4.0' }, '0.4.0'],
    [{ cniVersion: undefined }, '0.1.0'],
    [{ cniVersion: '' }, '0.1.0'],
    [{ cniVersion: '0.3.1', cniVersions: ['0.4.0', '1.0.0'] }, '1.0.0'],
    [{ cniVersion: '1.1.0', cniVersions: ['0.4.0'] }, '1.1.0'],
    [{ cniVersion: '1.0.0', cniVersions: ['1.1.0', '1.2.0', '2.0.0'] }, '1.1.0'],
    [{ cniVersion: '9.0.0', cniVersions: ['1.0.0'] }, '1.0.0'],
    [{ cniVersion: undefined, cniVersions: ['0.3.0', '0.3.1'] }, '0.3.1'],
    [{ cniVersion: '1.0.0', cniVersions: [] }, '1.0.0'],
    // Nothing is spoken here: the plugin refuses what is named.
    [{ cniVersion: '2.0.0', cniVersions: ['3.0.0'] }, '2.0.0'],
    [{ cniVersion: '2.0.0' }, '2.0.0'],
  ]
  for (const [keys, expected] of cases) t.equal(parseConflist(list(keys)).cniVersion, expected, JSON.stringify(keys))
})

t.test('versions are compared as numbers, not as text', async t => {
  t.ok(compareVersions('0.10.0', '0.9.0') > 0)
  t.ok(compareVersions('1.0.0', '1.0') === 0)
  t.ok(compareVersions('0.3.0', '0.3.1') < 0)
})

t.test('switches are booleans or the words true and false in any case', async t => {
  for (const [value, expected] of [
    [true, true],
    [false, false],
    ['true', true],
    ['TRUE', true],
    ['False', false],
    [undefined, false],
  ] as const) {
    const { disableCheck, disableGc, loadOnlyInlinedPlugins } = parseConflist(
      list({ disableCheck: value, disableGC: value, loadOnlyInlinedPlugins: value }),
    )
    t.same([disableCheck, disableGc, loadOnlyInlinedPlugins], [expected, expected, expected], String(value))
  }
})

t.test("a plugin's type and capabilities are found in any case, as Go decodes them, and null is unset", async t => {
  const plugin = parsePluginConfig('{"Type": "bridge", "Capabilities": {"ips": true, "mac": null}}')
  t.equal(plugin.type, 'bridge')
  t.same(plugin.capabilities, ['ips'])
  t.same(parsePluginConfig('{"type": "bridge", "capabilities": null}').capabilities, [])
})

t.test('a list without plugins waits for those of its directory, unless it takes only the inlined', async t => {
  const empty = parseConflist(list({ plugins: undefined }))
  t.same(empty.plugins, [])
  t.same(
    withPlugins(empty, [parsePluginConfig('{"type": "tuning"}')]).plugins.map(plugin => plugin.type),
    ['tuning'],
  )
  t.throws(() => withPlugins(empty, []), { code: 7, message: 'network "demo" has no plugin' })
})

t.test('a single plugin of old becomes a list of one with its name and version', async t => {
  const network = parseSinglePlugin('{"cniVersion": "0.4.0", "name": "old", "type": "ptp", "mtu": 1400}')
  t.match(network, { name: 'old', cniVersion: '0.4.0', plugins: [{ type: 'ptp', raw: { mtu: 1400 } }] })
  t.same(JSON.parse(network.text), {
    name: 'old',
    cniVersion: '0.4.0',
    plugins: [{ cniVersion: '0.4.0', name: 'old', type: 'ptp', mtu: 1400 }],
  })
})

t.test('what is no configuration is refused with the key and the value', async t => {
  const cases: [string, number, RegExp][] = [
    ['', 6, /^not JSON: /],
    ['{"name": "demo",', 6, /^not JSON: /],
    ['[]', 7, /is a JSON object, not an array/],
    ['null', 7, /is a JSON object, not null/],
    ['"text"', 7, /is a JSON object, not a string/],
    ['{"plugins": [{"type": "bridge"}]}', 7, /the key "name" is missing/],
    [list({ name: 5 }), 7, /"name" is a string, not a number/],
    [list({ name: '' }), 7, /missing network name/],
    [list({ name: '../../etc' }), 7, /invalid characters found in network name/],
    [list({ name: 'a b' }), 7, /invalid characters found in network name/],
    [list({ cniVersion: 1 }), 7, /"cniVersion" is a string, not a number/],
    [list({ cniVersion: 'one' }), 7, /"cniVersion" is no version: "one"/],
    [list({ cniVersions: '1.0.0' }), 7, /"cniVersions" is an array, not a string/],
    [list({ cniVersions: ['1.0.0', 1] }), 7, /"cniVersions\[1\]" is a string, not a number/],
    [list({ cniVersions: ['1.x'] }), 7, /"cniVersions\[0\]" is no version: "1.x"/],
    [list({ disableCheck: 'yes' }), 7, /"disableCheck" is true or false, not "yes"/],
    [list({ disableGC: 1 }), 7, /"disableGC" is true or false, not 1/],
    [list({ disableGC: null }), 7, /"disableGC" is true or false, not null/],
    [list({ loadOnlyInlinedPlugins: {} }), 7, /"loadOnlyInlinedPlugins" is true or false, not {}/],
    [
      list({ plugins: undefined, loadOnlyInlinedPlugins: true }),
      7,
      /"loadOnlyInlinedPlugins" is true, and there is no key "plugins"/,
    ],
    [list({ plugins: [] }), 7, /"plugins" is empty/],
    [list({ plugins: {} }), 7, /"plugins" is an array, not an object/],
    [list({ plugins: null }), 7, /"plugins" is an array, not null/],
    [list({ plugins: [bridge, 'bridge'] }), 7, /^plugins\[1\]: a plugin is an object, not a string/],
    [list({ plugins: [{}] }), 7, /^plugins\[0\]: the key "type" is missing/],
    [list({ plugins: [{ type: '' }] }), 7, /^plugins\[0\]: the key "type" is missing/],
    [list({ plugins: [{ type: 5 }] }), 7, /^plugins\[0\]: "type" is a string, not a number/],
    [list({ plugins: [{ type: '../bin/sh' }] }), 7, /without a directory, not "..\/bin\/sh"/],
    [list({ plugins: [{ ...bridge, capabilities: ['ips'] }] }), 7, /"capabilities" is an object, not an array/],
    [
      list({ plugins: [{ ...bridge, capabilities: { ips: 'yes' } }] }),
      7,
      /capability "ips" is true or false, not "yes"/,
    ],
  ]
  for (const [text, code, message] of cases) {
    let error: unknown
    try {
      parseConflist(text)
    } catch (thrown) {
      error = thrown
    }
    t.ok(error instanceof CniError, text)
    t.match(error, { code, message }, text)
  }
})

t.test('a list under the name of a single plugin is told so', async t => {
  t.throws(() => parseSinglePlugin(list()), { code: 7, details: /ends in \.conflist/ })
})
