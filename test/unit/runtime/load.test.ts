import { mkdirSync, symlinkSync } from 'node:fs'
import t from 'tap'
import { loadNetwork, readNetworkDirectory } from '../../../lib/runtime/index.ts'
import { writeFiles } from './fake-plugins.ts'

function conflist(name: string, ...types: string[]) {
  return { cniVersion: '1.0.0', name, plugins: types.map(type => ({ type })) }
}

/** Loads and collects the warnings; plugins by type. */
function load(directory: string, name: string) {
  const warnings: string[] = []
  const network = loadNetwork(directory, name, message => warnings.push(message))
  return { types: network.plugins.map(plugin => plugin.type), version: network.cniVersion, warnings }
}

t.test('lists come before single plugins, and by name among themselves', async t => {
  const directory = t.testdir()
  writeFiles(directory, {
    '00-single.conf': { cniVersion: '0.4.0', name: 'demo', type: 'single' },
    '20-second.conflist': conflist('demo', 'second'),
    '10-first.conflist': conflist('demo', 'first'),
    '05-other.conflist': conflist('other', 'other'),
  })
  t.same(load(directory, 'demo'), { types: ['first'], version: '1.0.0', warnings: [] })
  t.same(
    readNetworkDirectory(directory).networks.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)),
    ['05-other.conflist', '10-first.conflist', '20-second.conflist', '00-single.conf'],
  )
})

t.test('*.conf and *.json are single plugins; other files are none of ours', async t => {
  const directory = t.testdir()
  writeFiles(directory, {
    '10-a.conf': { cniVersion: '0.4.0', name: 'a', type: 'ptp' },
    '20-b.json': { name: 'b', type: 'macvlan' },
    'README.md': 'not JSON at all',
    '30-c.conflist.bak': 'not JSON at all',
  })
  mkdirSync(`${directory}/40-d.conflist`)
  t.same(load(directory, 'a'), { types: ['ptp'], version: '0.4.0', warnings: [] })
  t.same(load(directory, 'b'), { types: ['macvlan'], version: '0.1.0', warnings: [] })
})

t.test("plugins of the network's own directory follow the inlined ones, by file name", async t => {
  const directory = t.testdir()
  writeFiles(directory, {
    'demo.conflist': conflist('demo', 'bridge'),
    'demo/20-tuning.conf': { type: 'tuning' },
    'demo/10-portmap.conf': { type: 'portmap' },
    'demo/30-ignored.json': { type: 'ignored' },
    'bare.conflist': { cniVersion: '1.1.0', name: 'bare' },
    'bare/a.conf': { type: 'ptp' },
    'inlined.conflist': { ...conflist('inlined', 'bridge'), loadOnlyInlinedPlugins: 'true' },
    'inlined/a.conf': { type: 'never' },
  })
  t.same(load(directory, 'demo').types, ['bridge', 'portmap', 'tuning'])
  t.same(load(directory, 'bare').types, ['ptp'])
  t.same(load(directory, 'inlined').types, ['bridge'])
})

t.test('a broken file of another network is passed over with a warning', async t => {
  const directory = t.testdir()
  writeFiles(directory, {
    '00-broken.conflist': '{"name": "broken", ',
    '01-empty.conflist': '',
    '02-nothing.conflist': { cniVersion: '1.0.0', name: 'nothing' },
    '03-directory.conflist': { cniVersion: '1.0.0', name: 'directory' },
    'directory/a.conf': 'no JSON',
    '10-demo.conflist': conflist('demo', 'bridge'),
    '99-broken.conf': { name: 'typeless' },
  })
  symlinkSync('/nonexistent', `${directory}/04-dangling.conflist`)
  const { types, warnings } = load(directory, 'demo')
  t.same(types, ['bridge'])
  t.match(warnings, [
    /^passed over .*\/00-broken\.conflist: not JSON/,
    /^passed over .*\/01-empty\.conflist: not JSON/,
    /^passed over .*\/02-nothing\.conflist: network "nothing" has no plugin/,
    /^passed over .*\/03-directory\.conflist: ".*\/directory\/a\.conf": not JSON/,
    /^passed over .*\/04-dangling\.conflist: .*cannot be read: .*ENOENT/,
    /^passed over .*\/99-broken\.conf: the key "type" is missing/,
  ])
})

t.test('a broken file of the very network is not passed over for a later one of its name', async t => {
  const directory = t.testdir()
  writeFiles(directory, {
    '00-demo.conflist': { cniVersion: '1.0.0', name: 'demo', plugins: [] },
    '10-demo.conflist': conflist('demo', 'bridge'),
  })
  t.throws(() => load(directory, 'demo'), {
    code: 7,
    message: /network "demo" cannot be used: .*\/00-demo\.conflist: "plugins" is empty/,
  })
})

t.test('a name that is not there is refused with those that are, and with the broken files', async t => {
  const directory = t.testdir()
  writeFiles(directory, {
    'b.conflist': conflist('blue', 'bridge'),
    'a.conflist': conflist('amber', 'bridge'),
    'c.conflist': 'no JSON',
  })
  t.throws(() => load(directory, 'demo'), {
    code: 7,
    message: `no network named "demo" in ${JSON.stringify(directory)}`,
    details: /^networks there: amber, blue\ncould not be used: .*\/c\.conflist: not JSON/,
  })
})

t.test('an empty directory and a missing one are told alike', async t => {
  const directory = t.testdir({ empty: {} })
  for (const name of ['empty', 'missing']) {
    t.throws(() => load(`${directory}/${name}`, 'demo'), { code: 7, details: /no file there .* is a usable network/ })
  }
})

t.test('a directory that cannot be read is an I/O failure', async t => {
  const directory = t.testdir()
  symlinkSync('loop', `${directory}/loop`)
  t.throws(() => load(`${directory}/loop`, 'demo'), { code: 5, message: /loop" cannot be read: .*ELOOP/ })
})
