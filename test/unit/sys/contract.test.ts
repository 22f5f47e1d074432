/** One contract, kept by every binding of lib/sys: koffi and bun:ffi, as Node.js, Bun and executables have them. */

import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { findBun } from '../../../scripts/find-bun.ts'
import { execute, output, programPath, repositoryRoot } from '../../harness/index.ts'
import type { Outcome } from './claim.ts'

const directory = mkdtempSync(join(tmpdir(), `cnikit-${process.pid}-contract-`))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

const bun = findBun(repositoryRoot)
const source = join(repositoryRoot, 'test/unit/sys/contract.ts')

/** Compiles the program as the executables are compiled. */
function compile(name: string, conditions: readonly string[]): string {
  mkdirSync(join(directory, name))
  const executable = join(directory, name, 'contract')
  output(
    [
      bun,
      'build',
      '--compile',
      '--minify',
      '--keep-names',
      '--bytecode',
      '--format=esm',
      ...conditions,
      `--outfile=${executable}`,
      source,
    ],
    {
      cwd: repositoryRoot,
    },
  )
  return executable
}

const compiled = compile('ffi', [])
const compiledWithKoffi = compile('koffi', ['--conditions=koffi'])
const { arch } = process
copyFileSync(
  join(repositoryRoot, `node_modules/@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`),
  join(directory, 'koffi/koffi.node'),
)

const bindings: Readonly<Record<string, readonly string[]>> = {
  'Node.js with koffi': [process.execPath, '--expose-gc', join(repositoryRoot, 'dist/node/test/unit/sys/contract.js')],
  'Bun with bun:ffi': [bun, source],
  'executable with bun:ffi': [compiled],
  'executable with koffi': [compiledWithKoffi],
}

function run(argv: readonly string[], environment: Readonly<Record<string, string>> = {}): Outcome[] {
  const files = mkdtempSync(join(directory, 'files-'))
  // tap would put variables of its own into the environment of a Node.js process, and of all its children.
  const variables = Object.entries({ PATH: programPath, ...environment }).map(([name, value]) => `${name}=${value}`)
  const ended = execute(['/usr/bin/env', '-i', ...variables, ...argv, files], { timeoutMs: 120_000 })
  if (ended.status !== 0)
    throw new Error(`"${argv.join(' ')}" ended with ${ended.status ?? ended.signal}: ${ended.stderr}`)
  return JSON.parse(ended.stdout) as Outcome[]
}

const claims = new Map<string, string[]>()
for (const [name, argv] of Object.entries(bindings)) {
  t.test(name, t => {
    const outcomes = run(argv)
    for (const { claim, failure } of outcomes) t.equal(failure, undefined, claim)
    claims.set(
      name,
      outcomes.map(({ claim }) => claim),
    )
    t.end()
  })
}

t.test('every binding was held against the same claims', t => {
  const [first, ...others] = [...claims.values()]
  t.ok((first?.length ?? 0) > 20)
  for (const other of others) t.same(other, first)
  t.end()
})

t.test('koffi works where the JIT compiler is switched off, and bun:ffi says that it does not', t => {
  const off = { BUN_JSC_useJIT: '0' }
  for (const { claim, failure } of run([compiledWithKoffi], off)) t.equal(failure, undefined, claim)
  t.match(execute([compiled, directory], { environment: off }), { status: 1, stderr: /JIT/ })
  t.end()
})

t.test('the executable with koffi starts with few descriptors and writes no file', t => {
  // Every open file and every file made is in the trace; only the program's own directory may be written to.
  const trace = join(directory, 'trace')
  const calls = 'trace=open,openat,creat,mkdir,mkdirat,mknod,symlink,link,rename,renameat,renameat2'
  const home = mkdtempSync(join(directory, 'traced-'))
  output(['strace', '-f', '-o', trace, '-e', calls, 'prlimit', '--nofile=64', compiledWithKoffi, home])
  const writing = output(['cat', trace])
    .split('\n')
    .filter(line => /O_WRONLY|O_RDWR|O_CREAT|creat\(|mkdir|rename|link\(/.test(line))
    .filter(line => !line.includes(home) && !/ENOENT|\/dev\/null|\/dev\/tty/.test(line))
  t.same(writing, [])
  t.end()
})
