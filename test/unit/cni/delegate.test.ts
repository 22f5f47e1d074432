import { spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import t from 'tap'
import {
  delegateAdd,
  delegateCheck,
  delegateDel,
  delegateGc,
  delegateStatus,
  findPlugin,
  isThisExecutable,
} from '../../../lib/cni/delegate.ts'
import { CniError } from '../../../lib/cni/errors.ts'
import type { AttachmentRequest, GcRequest, Plugin } from '../../../lib/cni/types.ts'
import { recordingPlugin } from './fake-process.ts'

const directory = mkdtempSync('/tmp/cnikit-delegate-')
t.teardown(() => rmSync(directory, { recursive: true }))

/** A plugin of a few lines of shell. */
function script(name: string, body: string, mode = 0o755): string {
  const path = `${directory}/${name}`
  writeFileSync(path, `#!/bin/sh\n${body}\n`)
  chmodSync(path, mode)
  return name
}

function request(more: Partial<AttachmentRequest & GcRequest> = {}): AttachmentRequest & GcRequest {
  return {
    command: 'ADD',
    cniVersion: '1.1.0',
    network: 'net',
    config: { cniVersion: '1.1.0', name: 'net', type: 'upper' },
    stdin: '{"name": "net", "Unknown": [1]}',
    path: ['/nonexistent', directory],
    environment: { CNI_COMMAND: 'ADD', CNI_ARGS: 'A=1', PATH: process.env.PATH ?? '', TRACEPARENT: '00-1' },
    builtins: new Map(),
    containerId: 'c',
    ifname: 'eth0',
    netns: '/run/netns/x',
    args: new Map(),
    prevResult: undefined,
    validAttachments: undefined,
    ...more,
  }
}

const verbs: readonly (readonly [string, (request: AttachmentRequest & GcRequest, type: string) => unknown])[] = [
  ['ADD', delegateAdd],
  ['DEL', delegateDel],
  ['CHECK', delegateCheck],
  ['GC', delegateGc],
  ['STATUS', delegateStatus],
]

t.test('every verb is passed on with the complete configuration and the same environment', async t => {
  const type = script('record', `cat > ${directory}/stdin; env > ${directory}/env; echo '{}'`)
  for (const [verb, delegate] of verbs) {
    delegate(request(), type)
    t.equal(readFileSync(`${directory}/stdin`, 'utf8'), request().stdin, verb)
    const environment = readFileSync(`${directory}/env`, 'utf8').split('\n')
    t.ok(environment.includes(`CNI_COMMAND=${verb}`))
    t.ok(environment.includes('CNI_ARGS=A=1'))
    t.ok(environment.includes('TRACEPARENT=00-1'))
  }
})

t.test('a result is read in its own version, or in that of the configuration', async t => {
  const old = script('old', `echo '{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/16","gateway":"10.1.0.1"}}'`)
  t.strictSame(delegateAdd(request(), old), { ips: [{ address: '10.1.0.5/16', gateway: '10.1.0.1' }] })
  const unnamed = script('unnamed', `echo '{"ip4":{"ip":"10.1.0.5/16"}}'`)
  t.strictSame(delegateAdd(request({ cniVersion: '0.2.0' }), unnamed), { ips: [{ address: '10.1.0.5/16' }] })
  t.strictSame(delegateAdd(request(), script('null', 'echo null')), {})
})

t.test("a delegate's error is the plugin's error, with code, message and details", async t => {
  const type = script('fail', `echo '{"cniVersion":"1.0.0","code":11,"msg":"later","details":"lock is held"}'; exit 3`)
  for (const [verb, delegate] of verbs) {
    t.throws(
      () => delegate(request(), type),
      { name: 'CniError', code: 11, message: 'later', details: 'lock is held' },
      verb,
    )
  }
})

t.test('after an ADD that failed, DEL is run, and what it says is kept beside the error', async t => {
  for (const [name, add, del, details] of [
    ['undo', `echo '{"code":11,"msg":"later","details":"d"}'; exit 1`, 'exit 0', 'd'],
    [
      'noundo',
      `echo '{"code":11,"msg":"later","details":"d"}'; exit 1`,
      `echo '{"code":5,"msg":"disk"}'; exit 1`,
      'd\ncannot undo it, DEL failed as well: disk',
    ],
  ] as const) {
    const log = `${directory}/${name}.log`
    const type = script(name, `echo $CNI_COMMAND >> ${log}; if [ $CNI_COMMAND = ADD ]; then ${add}; else ${del}; fi`)
    t.throws(() => delegateAdd(request(), type), { code: 11, message: 'later', details })
    t.equal(readFileSync(log, 'utf8'), 'ADD\nDEL\n')
  }
  const log = `${directory}/badresult.log`
  const type = script('badresult', `echo $CNI_COMMAND >> ${log}; echo '{"ips": 5}'`)
  t.throws(() => delegateAdd(request(), type), { code: 106 })
  t.equal(readFileSync(log, 'utf8'), 'ADD\nDEL\n')
})

t.test('an answer that is no CNI document is code 106, with its first bytes', async t => {
  for (const [name, body, message] of [
    ['text', 'echo panic: nil pointer; exit 2', 'ended with status 2 and "panic: nil pointer\\n"'],
    ['silent', 'exit 1', 'ended with status 1 and no error message'],
    ['killed', 'kill -9 $$', 'ended with status 137'],
    ['nocode', `echo '{"msg": "x"}'; exit 1`, 'ended with status 1 and "{'],
    ['zerocode', `echo '{"code": 0, "msg": "x"}'; exit 1`, 'ended with status 1 and "{'],
    ['nothing', 'exit 0', 'it printed nothing'],
    ['garbage', 'echo hello', 'it printed "hello\\n"'],
    ['two', "echo '{}{}'", 'it printed "{}{}\\n"'],
    ['wrong', `echo '{"ips": 5}'`, '"ips" is 5, but must be a list'],
    ['list', 'echo []', 'not a JSON object'],
    ['other', `echo '{"cniVersion": "3.0.0"}'`, 'unmarshalled CNIVersion is "3.0.0"'],
  ] as const) {
    const type = script(name, body)
    t.throws(() => delegateAdd(request(), type), { code: 106, message: new RegExp(escapePattern(message)) }, name)
  }
})

t.test('what DEL, CHECK, GC and STATUS print on success does not matter', async t => {
  const type = script('chatty', 'echo hello')
  for (const [verb, delegate] of verbs.slice(1)) t.doesNotThrow(() => delegate(request(), type), verb)
})

t.test('the first regular file in CNI_PATH is taken', async t => {
  mkdirSync(`${directory}/first/plugin`, { recursive: true })
  mkdirSync(`${directory}/second`)
  mkdirSync(`${directory}/third`)
  for (const name of ['second', 'third']) writeFileSync(`${directory}/${name}/plugin`, '')
  const path = ['/nonexistent', '/dev/null', `${directory}/first`, `${directory}/second`, `${directory}/third`]
  t.equal(findPlugin(path, 'plugin'), `${directory}/second/plugin`)
  t.throws(() => findPlugin(path, 'absent'), {
    code: 106,
    message: /failed to find plugin "absent" in path \[\/nonexistent /,
  })
  t.throws(() => findPlugin([], 'absent'), { code: 106 })
})

t.test('a type that is no file name is refused with code 7', async t => {
  for (const type of ['', '.', '..', 'a/b', '/bin/sh', '../plugin', 'a\0b']) {
    t.throws(
      () => findPlugin([directory], type),
      { code: 7, message: `invalid plugin name: ${JSON.stringify(type)}` },
      type,
    )
  }
})

t.test('a file that cannot be run is code 106', async t => {
  const type = script('noexec', 'exit 0', 0o644)
  t.throws(() => delegateAdd(request(), type), {
    code: 106,
    message: /cannot run plugin ".*noexec": EACCES/,
    details: 'the file must be executable for root, and built for this machine',
  })
})

t.test('a plugin that is being written is tried again', async t => {
  const type = script('busy', `echo '{}'`)
  const fd = openSync(`${directory}/${type}`, 'r+')
  // The tries block this process, so that another one ends the writing.
  const holder = spawn('sleep', ['0.3'], { stdio: ['ignore', 'ignore', 'ignore', fd] })
  closeSync(fd)
  await new Promise(resolve => holder.on('spawn', resolve))
  t.strictSame(delegateAdd(request(), type), {})
  await new Promise(resolve => holder.on('exit', resolve))
})

t.test('a builtin is called as a function, with its verb, and no file is looked for', async t => {
  const { plugin, calls } = recordingPlugin()
  const withBuiltin = request({ path: [], builtins: new Map([['own', plugin]]) })
  for (const [verb, delegate] of verbs) {
    const result = delegate(withBuiltin, 'own')
    if (verb === 'ADD') t.strictSame(result, { ips: [{ address: '10.1.0.5/16' }] })
    t.match(calls.at(-1), { verb, request: { command: verb, containerId: 'c', stdin: withBuiltin.stdin } })
  }
})

t.test('a builtin that lacks the version is refused, as it would refuse itself', async t => {
  const { plugin } = recordingPlugin({ supportedVersions: ['0.4.0'] })
  t.throws(() => delegateAdd(request({ builtins: new Map([['own', plugin]]) }), 'own'), {
    code: 1,
    message: 'incompatible CNI versions',
  })
})

t.test("a builtin's error passes through untouched", async t => {
  const error = new CniError(102, 'pool is dry')
  const add: Plugin['add'] = () => {
    throw error
  }
  const { plugin } = recordingPlugin({ add })
  try {
    delegateAdd(request({ builtins: new Map([['own', plugin]]) }), 'own')
    t.fail('must throw')
  } catch (thrown) {
    t.equal(thrown, error)
  }
})

t.test('this executable is recognised through links, another one is not', async t => {
  symlinkSync(process.execPath, `${directory}/symbolic`)
  t.equal(isThisExecutable([directory], 'symbolic'), true)
  try {
    linkSync(process.execPath, `${directory}/hard`)
    t.equal(isThisExecutable([directory], 'hard'), true)
  } catch (error) {
    t.equal(
      (error as NodeJS.ErrnoException).code,
      'EXDEV',
      'only another file system keeps a hard link from being made',
    )
  }
  t.equal(isThisExecutable([directory], 'record'), false)
  t.equal(isThisExecutable([directory], 'absent'), false)
  t.equal(isThisExecutable([directory], 'a/b'), false)
})

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
