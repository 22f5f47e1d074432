import t from 'tap'
import {
  checkContainerId,
  checkInterfaceName,
  checkNetworkName,
  pluginDirectories,
} from '../../../lib/cni/environment.ts'
import { commands } from '../../../lib/cni/types.ts'
import { configWith, environmentFor, invoke } from './fake-process.ts'

/** CNI contract 1.1: what each verb needs beside CNI_COMMAND. */
const required = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  GC: ['CNI_PATH'],
  STATUS: [],
  VERSION: [],
} as const

for (const command of commands) {
  t.test(`${command} needs exactly ${required[command].join(', ') || 'no further variable'}`, async t => {
    const only = Object.fromEntries(
      Object.entries(environmentFor(command)).filter(
        ([name]) => name === 'CNI_COMMAND' || required[command].some(needed => needed === name),
      ),
    )
    const served = await invoke({ environment: only, config: configWith() })
    t.equal(served.status, 0, served.stdout)

    for (const name of required[command]) {
      const { [name]: _, ...without } = only
      for (const environment of [without, { ...only, [name]: '' }]) {
        const refused = await invoke({ environment, config: configWith() })
        t.match(refused.document, { code: 4, msg: `required env variables [${name}] missing` })
        t.equal(refused.status, 1)
        t.same(refused.calls, [])
        t.equal(refused.stdinReads, 0, 'standard input is not waited for')
      }
    }
  })
}

t.test('several missing variables are listed with commas and no spaces', async t => {
  const { document } = await invoke({ environment: { CNI_COMMAND: 'ADD' } })
  t.equal(document.msg, 'required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing')
})

t.test('an unknown CNI_COMMAND is refused with code 4, whatever its case', async t => {
  for (const command of ['FOO', 'add', 'ADD ', 'constructor']) {
    const { status, document, calls } = await invoke({ environment: environmentFor(command), config: configWith() })
    t.match(document, { code: 4, msg: `unknown CNI_COMMAND: ${command}` })
    t.equal(status, 1)
    t.same(calls, [])
  }
})

t.test('without CNI_COMMAND the plugin introduces itself on stderr and succeeds', async t => {
  for (const environment of [{}, { CNI_COMMAND: '' }]) {
    const { status, stdout, stderr, stdinReads } = await invoke({ environment })
    t.equal(status, 0)
    t.equal(stdout, '')
    t.match(stderr, /recorder.*records its calls/)
    t.match(stderr, 'CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n')
    t.equal(stdinReads, 0)
  }
})

t.test('a container id begins with a letter or digit and goes on with those, "_", "." and "-"', async t => {
  for (const good of ['a', '0', 'cnitool-77383ca0a0715733ca6f', 'a_b.c-d', 'A'.repeat(200)]) {
    t.doesNotThrow(() => checkContainerId(good), good)
  }
  for (const bad of ['_a', '-a', '.a', '..', 'a/b', '../a', 'a b', 'a\n', 'ä', 'a\0', 'a:b', 'a;b', '$(id)']) {
    t.throws(() => checkContainerId(bad), { code: 4, message: 'invalid characters in containerID', details: bad }, bad)
  }
})

t.test('a network name has the form of a container id, with errors of its own', async t => {
  t.doesNotThrow(() => checkNetworkName('net-1.a_b'))
  t.throws(() => checkNetworkName(''), { code: 7, message: 'missing network name' })
  for (const bad of ['..', '../etc', 'a/b', 'a b', '-a', 'netz\u00e4']) {
    t.throws(() => checkNetworkName(bad), { code: 7, message: 'invalid characters found in network name' }, bad)
  }
})

t.test('an interface name is what the kernel takes', async t => {
  for (const good of ['eth0', 'a', 'fifteen-bytes-1', '...', 'a.1', 'ö']) {
    t.doesNotThrow(() => checkInterfaceName(good), good)
  }
  for (const [name, message] of [
    ['sixteen-bytes-12', 'interface name is too long'],
    ['ööööööö1ö', 'interface name is too long'],
    ['.', 'interface name is . or ..'],
    ['..', 'interface name is . or ..'],
    ['a/b', 'interface name contains / or : or whitespace characters'],
    ['a:b', 'interface name contains / or : or whitespace characters'],
    ['a b', 'interface name contains / or : or whitespace characters'],
    ['a\tb', 'interface name contains / or : or whitespace characters'],
    ['a\u0085b', 'interface name contains / or : or whitespace characters'],
    ['a\u00a0b', 'interface name contains / or : or whitespace characters'],
    ['a\u3000b', 'interface name contains / or : or whitespace characters'],
    ['eth%d', 'interface name contains %'],
    ['all', 'interface name is all or default'],
    ['default', 'interface name is all or default'],
    ['', 'interface name is empty'],
    ['a\0b', 'interface name contains a NUL character'],
  ] as const) {
    t.throws(() => checkInterfaceName(name), { code: 4, message }, JSON.stringify(name))
  }
})

t.test('ids and interface names are checked for ADD, CHECK and DEL, and for no other verb', async t => {
  for (const command of commands) {
    for (const [variable, value, msg] of [
      ['CNI_CONTAINERID', '../x', 'invalid characters in containerID'],
      ['CNI_IFNAME', 'much-too-long-a-name', 'interface name is too long'],
    ] as const) {
      const { document, calls } = await invoke({
        environment: environmentFor(command, { [variable]: value }),
        config: configWith(),
      })
      if (['ADD', 'DEL', 'CHECK'].includes(command)) {
        t.match(document, { code: 4, msg }, `${command} ${variable}`)
        t.same(calls, [])
      } else {
        t.not(document?.code, 4, `${command} ${variable}`)
      }
    }
  }
})

t.test('CNI_PATH is a list of directories, empty entries apart', async t => {
  t.same(pluginDirectories({ CNI_PATH: '/a:/b::/c:' }), ['/a', '/b', '/c'])
  t.same(pluginDirectories({}), [])
})
