/**
 * Processes started with as little as the kernel allows around what is measured: posix_spawn and wait4 called directly,
 * standard streams on files. (spawnSync of Node adds 2 ms and more, and their noise.)
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import koffi from 'koffi'

const libc = koffi.load('libc.so.6')
const posixSpawn = libc.func(
  'int posix_spawn(_Out_ int *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)',
)
const initActions = libc.func('int posix_spawn_file_actions_init(void *actions)')
const addOpen = libc.func(
  'int posix_spawn_file_actions_addopen(void *actions, int fd, const char *path, int flags, uint mode)',
)
const destroyActions = libc.func('int posix_spawn_file_actions_destroy(void *actions)')
const initAttributes = libc.func('int posix_spawnattr_init(void *attributes)')
const setFlags = libc.func('int posix_spawnattr_setflags(void *attributes, short flags)')
const setDefaultSignals = libc.func('int posix_spawnattr_setsigdefault(void *attributes, void *set)')
const fillSignals = libc.func('int sigfillset(void *set)')
const wait4 = libc.func('int wait4(int pid, _Out_ int *status, int options, void *usage)')

const O_RDONLY = 0
const O_WRONLY_CREAT_TRUNC = 0o1101
const POSIX_SPAWN_SETSIGDEF = 0x04
const WNOHANG = 1

// glibc's structures take 80, 336 and 128 bytes on 64-bit machines.
const actions = Buffer.alloc(256)
const attributes = Buffer.alloc(512)
const signals = Buffer.alloc(128)
// Node ignores SIGPIPE, which programs would inherit.
fillSignals(signals)
initAttributes(attributes)
setDefaultSignals(attributes, signals)
setFlags(attributes, POSIX_SPAWN_SETSIGDEF)

export interface Command {
  readonly path: string
  readonly argv: readonly string[]
  /** Everything that the program gets. */
  readonly environment: Readonly<Record<string, string>>
  /** File for standard input. */
  readonly input: string
  /** Directory for what it prints: files "stdout" and "stderr". */
  readonly output: string
}

function start(command: Command): number {
  const pid = [0]
  initActions(actions)
  addOpen(actions, 0, command.input, O_RDONLY, 0)
  addOpen(actions, 1, join(command.output, 'stdout'), O_WRONLY_CREAT_TRUNC, 0o600)
  addOpen(actions, 2, join(command.output, 'stderr'), O_WRONLY_CREAT_TRUNC, 0o600)
  const environment = Object.entries(command.environment).map(([name, value]) => `${name}=${value}`)
  const error = posixSpawn(pid, command.path, actions, attributes, [...command.argv, null], [...environment, null])
  destroyActions(actions)
  if (error !== 0) throw new Error(`Cannot start ${command.path}: errno ${error}`)
  return pid[0] ?? 0
}

const printed = (command: Command, stream: string): string => readFileSync(join(command.output, stream), 'utf8')

function assertSucceeded(command: Command, status: number): void {
  if (status === 0) return
  const what = `${command.path} ${command.environment.CNI_COMMAND ?? ''}`
  throw new Error(
    `${what} ended with wait status ${status}: ${printed(command, 'stdout')}${printed(command, 'stderr')}`,
  )
}

/** Milliseconds from before the start of a program until it is gone. @throws unless it succeeds */
export function measure(command: Command): number {
  const status = [0]
  const before = performance.now()
  const pid = start(command)
  wait4(pid, status, 0, null)
  const elapsed = performance.now() - before
  assertSucceeded(command, status[0] ?? 0)
  return elapsed
}

/** What a program that measure() ran has printed. */
export const answer = (command: Command): string => printed(command, 'stdout')

/**
 * The most memory that a program has had resident, in MiB: VmHWM, read without a pause until it ends. (ru_maxrss would
 * count what this process has resident, since a spawned program starts in its memory.)
 */
export function measureMemory(command: Command): number {
  const status = [0]
  const pid = start(command)
  let highest = 0
  while (wait4(pid, status, WNOHANG, null) === 0) {
    const [, kibibytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
    highest = Math.max(highest, Number(kibibytes ?? 0))
  }
  assertSucceeded(command, status[0] ?? 0)
  return highest / 1024
}

/** Milliseconds that it takes to run all commands, so many at a time. @throws unless all succeed */
export function measureCrowd(commands: readonly Command[], atATime: number): number {
  const running = new Map<number, Command>()
  const waiting = [...commands]
  const failures: [Command, number][] = []
  const before = performance.now()
  while (waiting.length > 0 || running.size > 0) {
    const next = running.size < atATime ? waiting.shift() : undefined
    if (next !== undefined) {
      running.set(start(next), next)
      continue
    }
    const status = [0]
    const pid = wait4(-1, status, 0, null) as number
    const ended = running.get(pid)
    if (ended === undefined) continue
    running.delete(pid)
    if (status[0] !== 0) failures.push([ended, status[0] ?? 0])
  }
  const elapsed = performance.now() - before
  for (const [command, status] of failures) assertSucceeded(command, status)
  return elapsed
}
