/** What every plugin does with a request before and after its own work. Long, and one subject: the contract, line by line. */

import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { CniError } from '../../../lib/cni/errors.ts'
import { dispatch } from '../../../lib/cni/run.ts'
import { cniVersions } from '../../../lib/cni/types.ts'
import { SysError } from '../../../lib/sys/errno.ts'
import { configWith, environmentFor, invoke, recordingPlugin } from './fake-process.ts'

const attachmentVerbs = ['ADD', 'DEL', 'CHECK'] as const
const verbs = [...attachmentVerbs, 'GC', 'STATUS'] as const

t.test('VERSION answers with 1.1.0 and the supported versions, and never reads standard input', async t => {
  const { status, stdout, document, stdinReads } = await invoke({
    environment: { CNI_COMMAND: 'VERSION', CNI_NETNS: 'dummy', CNI_IFNAME: 'dummy', CNI_PATH: 'dummy' },
    plugin: { supportedVersions: ['0.4.0', '1.0.0'] },
    config: '{"cniVersion":',
  })
  t.equal(status, 0)
  t.strictSame(document, { cniVersion: '1.1.0', supportedVersions: ['0.4.0', '1.0.0'] })
  t.ok(stdout.endsWith('\n'))
  t.equal(stdinReads, 0)
})

t.test('every verb reaches the plugin with its request', async t => {
  const environment = { CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=web', EXTRA: 'kept' }
  for (const command of verbs) {
    const config = configWith({ 'cni.dev/valid-attachments': [{ containerID: 'a', ifname: 'eth0' }], Own: { Key: 1 } })
    const { status, calls, stdout } = await invoke({ environment: environmentFor(command, environment), config })
    t.equal(status, 0, command)
    t.equal(calls.length, 1)
    const { verb, request } = calls[0] ?? { verb: '' }
    t.equal(verb, command)
    t.match(request, {
      command,
      cniVersion: '1.1.0',
      network: 'net-1',
      config,
      stdin: JSON.stringify(config),
      path: ['/opt/cni/bin'],
      environment: { EXTRA: 'kept' },
    })
    if (command === 'GC') t.strictSame(request?.validAttachments, [{ containerId: 'a', ifname: 'eth0' }])
    else if (command !== 'STATUS') {
      // No namespace: ADD and CHECK of this plugin enter none, and for DEL it is gone.
      const netns = command === 'DEL' ? '' : '/dev/null'
      t.match(request, { containerId: 'container-1', ifname: 'eth0', netns, prevResult: {} })
      t.equal(request?.args?.get('K8S_POD_NAME'), 'web')
    }
    if (command !== 'ADD') t.equal(stdout, '', 'prints nothing on success')
  }
})

t.test('standard output holds one document: the result, in the version of the configuration', async t => {
  for (const cniVersion of cniVersions) {
    const { status, document } = await invoke({
      environment: environmentFor('ADD'),
      config: configWith({ cniVersion, prevResult: null }),
    })
    t.equal(status, 0)
    t.equal(document.cniVersion, cniVersion)
  }
})

t.test('a configuration without cniVersion, or with an empty one, is of 0.1.0', async t => {
  for (const cniVersion of [undefined, '', null]) {
    const config = configWith({ cniVersion, prevResult: null })
    const { document, calls } = await invoke({ environment: environmentFor('ADD'), config })
    t.strictSame(document, { cniVersion: '0.1.0', dns: {}, ip4: { ip: '10.1.0.5/16' } })
    t.equal(calls[0]?.request.cniVersion, '0.1.0')
  }
})

t.test('a version that the plugin does not list exactly is refused with code 1', async t => {
  for (const cniVersion of ['1.2.0', '0.3.2', '1.1', '1.1.0 ', 'v1.1.0', '0.2.0']) {
    for (const command of verbs) {
      const { status, document, calls } = await invoke({
        environment: environmentFor(command),
        config: configWith({ cniVersion }),
        plugin: { supportedVersions: ['0.4.0', '1.1.0'] },
      })
      t.strictSame(document, {
        cniVersion: '1.1.0',
        code: 1,
        msg: 'incompatible CNI versions',
        details: `config is "${cniVersion}", plugin supports ["0.4.0" "1.1.0"]`,
      })
      t.equal(status, 1)
      t.same(calls, [])
    }
  }
})

t.test('CHECK needs 0.4.0, GC and STATUS need 1.1.0', async t => {
  const since = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' } as const
  for (const [command, oldest] of Object.entries(since)) {
    for (const cniVersion of cniVersions) {
      const { status, document, calls } = await invoke({
        environment: environmentFor(command),
        config: configWith({ cniVersion }),
      })
      if (cniVersions.indexOf(cniVersion) >= cniVersions.indexOf(oldest)) t.equal(status, 0, `${command} ${cniVersion}`)
      else {
        t.match(document, { code: 1, msg: `config version does not allow ${command}` }, `${command} ${cniVersion}`)
        t.same(calls, [])
      }
    }
  }
})

t.test('what is no JSON object is refused with code 6, and the place of the mistake', async t => {
  for (const [stdin, place] of [
    ['', 'line 1, column 1: the text ends'],
    ['{"name":\n  "n",\n  bad}', 'line 3, column 3: found "bad}"'],
    ['{"name": "n"', 'line 1, column 13: the text ends'],
    ['{"name": "n"} x', 'line 1, column 15'],
    ['[]', 'it is not a JSON object'],
    ['null', 'it is not a JSON object'],
    ['5', 'it is not a JSON object'],
    ['['.repeat(100_000), 'column 100001: the text ends'],
  ] as const) {
    const { status, document, calls } = await invoke({ environment: environmentFor('ADD'), config: stdin })
    t.equal(status, 1)
    t.equal(document.code, 6, place)
    t.match(document.msg, 'error unmarshall network config: ')
    t.match(document.msg, place)
    t.same(calls, [])
  }
})

t.test('the name is required, and has the form of a name', async t => {
  for (const command of verbs) {
    for (const [name, msg] of [
      [undefined, 'missing network name'],
      [null, 'missing network name'],
      ['', 'missing network name'],
      ['../n', 'invalid characters found in network name'],
      [5, '"name" is 5, but must be a string'],
    ] as const) {
      const { document, calls } = await invoke({ environment: environmentFor(command), config: configWith({ name }) })
      t.match(document, { code: 7, msg }, `${command} ${name}`)
      t.same(calls, [])
    }
  }
})

t.test('the name is checked before the version, and the version before the rest', async t => {
  const config = { cniVersion: '9.9.9', prevResult: { ips: 5 } }
  const environment = environmentFor('ADD')
  t.match((await invoke({ environment, config })).document, { code: 7, msg: 'missing network name' })
  t.match((await invoke({ environment, config: { ...config, name: 'n' } })).document, { code: 1 })
})

t.test('keys match without regard to case, as in Go', async t => {
  const { status, calls } = await invoke({
    environment: environmentFor('ADD'),
    config: { CNIVersion: '1.0.0', NAME: 'n', Type: 'x', PrevResult: { IPs: [{ address: '10.0.0.1/8' }] } },
  })
  t.equal(status, 0)
  t.match(calls[0]?.request, { cniVersion: '1.0.0', network: 'n', prevResult: { ips: [{ address: '10.0.0.1/8' }] } })
})

t.test('of a key that is written twice the last value counts', async t => {
  const { calls } = await invoke({
    environment: environmentFor('ADD'),
    config: '{"name":"a","NAME":"b","name":"c","Name":"d"}',
  })
  t.equal(calls[0]?.request.network, 'd')
})

t.test('reserved keys of the wrong type are refused with code 7', async t => {
  for (const [key, value] of [
    ['cniVersion', 1],
    ['ipam', 'host-local'],
    ['ipam', { type: 5 }],
    ['dns', { nameservers: [5] }],
    ['args', []],
    ['runtimeConfig', 'x'],
    ['capabilities', { mac: 'yes' }],
    ['prevResult', []],
    ['cni.dev/valid-attachments', {}],
    ['cni.dev/valid-attachments', [{ containerID: 'a' }]],
    ['cni.dev/valid-attachments', [{ containerID: '', ifname: 'eth0' }]],
    ['cni.dev/valid-attachments', [null]],
  ] as const) {
    const config = configWith({ [key]: value })
    const { document, calls } = await invoke({ environment: environmentFor('GC'), config })
    t.match(document, { code: 7, msg: key }, JSON.stringify({ [key]: value }))
    t.same(calls, [])
  }
})

t.test('prevResult is read with the version of the configuration', async t => {
  const environment = environmentFor('ADD')
  const inherited = { ips: [{ address: '10.0.0.1/8' }] }
  const good = await invoke({ environment, config: configWith({ prevResult: inherited }) })
  t.strictSame(good.calls[0]?.request.prevResult, inherited)

  const old = { cniVersion: '0.4.0', ips: [{ version: '4', address: '10.0.0.1/8' }] }
  const { document, calls } = await invoke({
    environment,
    config: configWith({ cniVersion: '1.0.0', prevResult: old }),
  })
  t.match(document, {
    code: 7,
    msg: 'prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.4.0"',
  })
  t.same(calls, [])
})

t.test('CHECK without prevResult is refused', async t => {
  const { document, calls } = await invoke({
    environment: environmentFor('CHECK'),
    config: configWith({ prevResult: null }),
  })
  t.match(document, { code: 7, msg: 'Required prevResult missing' })
  t.same(calls, [])
})

t.test('DEL succeeds without prevResult, with one that cannot be read, and without a namespace', async t => {
  for (const prevResult of [undefined, null, { cniVersion: '0.4.0' }, { ips: 'x' }]) {
    const { status, stdout, stderr, calls } = await invoke({
      environment: environmentFor('DEL', { CNI_NETNS: '' }),
      config: configWith({ prevResult }),
      plugin: { netns: 'container' },
    })
    t.equal(status, 0)
    t.equal(stdout, '')
    t.match(calls, [{ verb: 'DEL', request: { netns: '' } }])
    t.equal(calls[0]?.request.prevResult, undefined)
    t.equal(stderr.includes('DEL goes on without it'), Boolean(prevResult))
  }
})

t.test('GC distinguishes an empty list from none, and knows the name of the list in the draft', async t => {
  const attachments = async (more: Record<string, unknown>) =>
    (await invoke({ environment: environmentFor('GC'), config: configWith(more) })).calls[0]?.request.validAttachments
  t.equal(await attachments({}), undefined)
  t.equal(await attachments({ 'cni.dev/valid-attachments': null }), undefined)
  t.strictSame(await attachments({ 'cni.dev/valid-attachments': [] }), [])
  t.strictSame(await attachments({ 'cni.dev/attachments': [{ containerID: 'a', ifname: 'b' }] }), [
    { containerId: 'a', ifname: 'b' },
  ])
  t.strictSame(
    await attachments({ 'cni.dev/attachments': [{ containerID: 'a', ifname: 'b' }], 'cni.dev/valid-attachments': [] }),
    [],
  )
})

t.test("a plugin's error becomes the error document, in the version of the configuration", async t => {
  for (const command of verbs) {
    const fail = () => {
      throw new CniError(104, 'in the way', 'remove it')
    }
    const { status, stdout, document } = await invoke({
      environment: environmentFor(command),
      config: configWith(),
      plugin: { add: fail, del: fail, check: fail, gc: fail, status: fail },
    })
    t.equal(status, 1)
    t.strictSame(document, { cniVersion: '1.1.0', code: 104, msg: 'in the way', details: 'remove it' })
    t.ok(stdout.endsWith('}\n'))
  }
})

t.test('an error document has no details when there are none', async t => {
  const { document } = await invoke({
    environment: environmentFor('STATUS'),
    config: configWith(),
    plugin: {
      status: () => {
        throw new CniError(50, 'full')
      },
    },
  })
  t.strictSame(document, { cniVersion: '1.1.0', code: 50, msg: 'full' })
})

t.test('any exception of a plugin becomes one error document', async t => {
  for (const [thrown, code] of [
    [new SysError('open "/x"', 13), 5],
    [new SysError('lock "/x"', 11), 11],
    [Object.assign(new Error('create link "x": EEXIST'), { name: 'NetlinkError', errno: 17 }), 100],
    [Object.assign(new Error('create link "x": EBUSY'), { name: 'NetlinkError', errno: 16 }), 11],
    [new TypeError('undefined is not a function'), 199],
    ['a text', 199],
    [undefined, 199],
  ] as const) {
    const { status, document } = await invoke({
      environment: environmentFor('DEL'),
      config: configWith(),
      plugin: {
        del: () => {
          throw thrown
        },
      },
    })
    t.equal(status, 1)
    t.match(document, { code, msg: thrown instanceof Error ? thrown.message : String(thrown) })
  }
})

t.test('an ADD whose result cannot be written is undone and fails', async t => {
  for (const errno of [32, 28]) {
    const { status, stdout, stderr, calls } = await invoke({
      environment: environmentFor('ADD'),
      config: configWith(),
      streams: {
        writeStdout: () => {
          throw new SysError('write descriptor 1', errno)
        },
      },
    })
    t.equal(status, 1)
    t.equal(stdout, '')
    t.match(JSON.parse(stderr), {
      code: 5,
      msg: 'cannot write the result',
      details: 'what ADD had made is removed again',
    })
    t.match(calls, [{ verb: 'ADD' }, { verb: 'DEL', request: { command: 'DEL', containerId: 'container-1' } }])
  }
})

t.test('what undoing could not remove is told', async t => {
  const { stderr } = await invoke({
    environment: environmentFor('ADD'),
    config: configWith(),
    plugin: {
      del: () => {
        throw new Error('link is held')
      },
    },
    streams: {
      writeStdout: () => {
        throw new SysError('write descriptor 1', 32)
      },
    },
  })
  t.match(JSON.parse(stderr).details, 'cannot undo ADD: link is held')
})

t.test('standard input that cannot be read is an error of code 5', async t => {
  const { status, document } = await invoke({
    environment: environmentFor('ADD'),
    streams: {
      readStdin: () => {
        throw new SysError('read descriptor 0', 9)
      },
    },
  })
  t.equal(status, 1)
  t.match(document, { code: 5, msg: 'read descriptor 0: EBADF' })
})

t.test(
  'the IPAM plugin is called as a function only when CNI_PATH leads to this executable under its name',
  async t => {
    const directory = mkdtempSync('/tmp/cnikit-run-test-')
    t.teardown(() => rmSync(directory, { recursive: true }))
    symlinkSync(process.execPath, `${directory}/linked`)
    writeFileSync(`${directory}/other`, '#!/bin/sh\n', { mode: 0o755 })
    const builtins = ['linked', 'other', 'absent'].map(name => recordingPlugin({ name }).plugin)
    for (const [type, expected] of [
      ['linked', ['linked']],
      ['other', []],
      ['absent', []],
      ['constructor', []],
      [undefined, []],
    ] as const) {
      const { status, calls } = await invoke({
        environment: environmentFor('ADD', { CNI_PATH: `/nonexistent:${directory}` }),
        config: configWith({ ipam: type === undefined ? {} : { Type: type } }),
        builtins,
      })
      t.equal(status, 0)
      t.strictSame([...(calls[0]?.request.builtins.keys() ?? [])], expected, String(type))
    }
  },
)

t.test('a plugin that is to call itself for addresses is refused, and does not call itself for ever', async t => {
  const directory = mkdtempSync('/tmp/cnikit-run-test-')
  t.teardown(() => rmSync(directory, { recursive: true }))
  symlinkSync(process.execPath, `${directory}/recorder`)
  const { plugin, calls } = recordingPlugin({ netns: 'container' })
  let stdout = ''
  const status = dispatch(
    plugin,
    {
      environment: environmentFor('ADD', { CNI_PATH: directory }),
      readStdin: () => JSON.stringify(configWith({ ipam: { type: 'recorder' } })),
      writeStdout: text => {
        stdout += text
      },
      writeStderr: () => undefined,
    },
    [plugin],
  )
  t.equal(status, 1)
  t.match(JSON.parse(stdout), { code: 7, msg: '"ipam.type" is "recorder", the plugin that would call it' })
  t.same(calls, [])
})
