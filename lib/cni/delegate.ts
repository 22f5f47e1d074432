/**
 * Calling another plugin, as an interface plugin calls its IPAM plugin: as a function when it is this same executable,
 * else as a process. @see SPEC 1.1.0, "Section 4: Plugin Delegation"
 */

import { libc } from '#libc'
import { FileType, statusOf } from '../sys/file.ts'
import { spawnSync } from '../sys/host.ts'
import { CniError, ErrorCode } from './errors.ts'
import { toCniError } from './failure.ts'
import { isCniVersion, parseResult, resultVersion } from './results/index.ts'
import type { AttachmentRequest, Command, GcRequest, NetworkRequest, Plugin, Result } from './types.ts'
import { showValue } from './violation.ts'

/** How often, and after how long, a plugin that is being written (ETXTBSY) is tried again. */
const BUSY_RETRIES = 10
const BUSY_WAIT_MICROSECONDS = 100_000

/**
 * The delegate's result. When its ADD fails, its DEL has been run, as the specification wants it (a builtin undoes its
 * own ADD). When a later step of the caller's ADD fails, the caller owes a `delegateDel`.
 */
export function delegateAdd(request: AttachmentRequest, type: string): Result {
  const own = builtin(request, type)
  if (own !== undefined) return own.add({ ...request, command: 'ADD' })
  findPlugin(request.path, type)
  try {
    return readResult(execute(request, type, 'ADD'), request, type)
  } catch (thrown) {
    const error = toCniError(thrown)
    const failure = failureOf(() => execute(request, type, 'DEL'))
    // The same failure twice: it could not even be run.
    if (failure === undefined || failure === error.message) throw error
    const details = [error.details, `cannot undo it, DEL failed as well: ${failure}`].filter(Boolean).join('\n')
    throw new CniError(error.code, error.message, details, { cause: thrown })
  }
}

/** What an action fails with, in words. */
function failureOf(action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    return toCniError(error).message
  }
}

function readResult(answer: unknown, request: NetworkRequest, type: string): Result {
  const version = resultVersion((answer ?? {}) as Record<string, unknown>)
  try {
    return parseResult(answer, isCniVersion(version) ? version : request.cniVersion)
  } catch (error) {
    throw asAnswerError(type, error)
  }
}

export function delegateDel(request: AttachmentRequest, type: string): void {
  const own = builtin(request, type)
  if (own === undefined) execute(request, type, 'DEL')
  else own.del({ ...request, command: 'DEL' })
}

export function delegateCheck(request: AttachmentRequest, type: string): void {
  const own = builtin(request, type)
  if (own === undefined) execute(request, type, 'CHECK')
  else own.check({ ...request, command: 'CHECK' })
}

export function delegateGc(request: GcRequest, type: string): void {
  const own = builtin(request, type)
  if (own === undefined) execute(request, type, 'GC')
  else own.gc({ ...request, command: 'GC' })
}

export function delegateStatus(request: NetworkRequest, type: string): void {
  const own = builtin(request, type)
  if (own === undefined) execute(request, type, 'STATUS')
  else own.status({ ...request, command: 'STATUS' })
}

/**
 * The file that a plugin type stands for: the first regular file of that name in the directories of CNI_PATH.
 * @throws CniError code 7 for a type that cannot be a file's name, 106 when there is no such file
 */
export function findPlugin(path: readonly string[], type: string): string {
  if (type === '' || type === '.' || type === '..' || type.includes('/') || type.includes('\0')) {
    throw new CniError(
      ErrorCode.invalidNetworkConfig,
      `invalid plugin name: ${JSON.stringify(type)}`,
      'a plugin type is the name of an executable in CNI_PATH, without a directory',
    )
  }
  for (const directory of path) {
    const file = `${directory}/${type}`
    if (isRegularFile(file)) return file
  }
  throw new CniError(
    ErrorCode.delegateFailed,
    `failed to find plugin ${JSON.stringify(type)} in path [${path.join(' ')}]`,
    'install the plugin into one of the directories of CNI_PATH, or correct the type in the configuration',
  )
}

function isRegularFile(file: string): boolean {
  try {
    const status = statusOf(file)
    return status !== undefined && (status.mode & FileType.MASK) === FileType.REGULAR
  } catch {
    // A directory that cannot be searched: the plugin may be in the next one.
    return false
  }
}

/** Whether the file that a type stands for is the executable that runs now. False where there is none. */
export function isThisExecutable(path: readonly string[], type: string): boolean {
  try {
    return statusOf(findPlugin(path, type))?.identity === statusOf('/proc/self/exe')?.identity
  } catch {
    return false
  }
}

function builtin(request: NetworkRequest, type: string): Plugin | undefined {
  const plugin = request.builtins.get(type)
  if (plugin !== undefined && !plugin.supportedVersions.includes(request.cniVersion)) {
    throw new CniError(
      ErrorCode.incompatibleVersion,
      'incompatible CNI versions',
      `config is "${request.cniVersion}", plugin ${type} supports ${JSON.stringify(plugin.supportedVersions)}`,
    )
  }
  return plugin
}

/** Runs the plugin with the whole configuration and the same environment; returns its parsed answer, if it gave one. */
function execute(request: NetworkRequest, type: string, command: Command): unknown {
  const file = findPlugin(request.path, type)
  const environment = { ...request.environment, CNI_COMMAND: command }
  const { status, stdout } = spawnRetrying(file, environment, request.stdin)
  if (status === 0 && command !== 'ADD') return undefined
  const answer = parseAnswer(stdout)
  if (status !== 0) throw delegateError(type, status, answer, stdout)
  if (answer === undefined && stdout.trim() !== '') throw answerError(type, `it printed ${showValue(stdout)}`)
  if (answer === undefined) throw answerError(type, 'it printed nothing')
  return answer
}

function spawnRetrying(file: string, environment: Readonly<Record<string, string>>, input: string) {
  for (let attempt = 0; ; attempt++) {
    try {
      return spawnSync(file, { environment, input })
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : ''
      if (code === 'ETXTBSY' && attempt < BUSY_RETRIES) {
        libc.usleep(BUSY_WAIT_MICROSECONDS)
        continue
      }
      throw new CniError(
        ErrorCode.delegateFailed,
        `cannot run plugin ${JSON.stringify(file)}: ${code || String(error)}`,
        'the file must be executable for root, and built for this machine',
        { cause: error },
      )
    }
  }
}

function parseAnswer(stdout: string): unknown {
  try {
    return JSON.parse(stdout)
  } catch {
    return undefined
  }
}

/** The delegate's error document as our own error; without one, what can be said of its end. */
function delegateError(type: string, status: number, answer: unknown, stdout: string): CniError {
  const { code, msg, details } = (answer ?? {}) as { code?: unknown; msg?: unknown; details?: unknown }
  if (typeof code === 'number' && code > 0 && typeof msg === 'string') {
    return new CniError(code, msg, typeof details === 'string' && details !== '' ? details : undefined)
  }
  const printed = stdout.trim() === '' ? 'no error message' : showValue(stdout)
  return answerError(type, `it ended with status ${status} and ${printed}`)
}

function answerError(type: string, what: string): CniError {
  return new CniError(
    ErrorCode.delegateFailed,
    `plugin ${JSON.stringify(type)} gave no CNI answer: ${what}`,
    'its standard error, which is passed on, may say more',
  )
}

function asAnswerError(type: string, error: unknown): unknown {
  if (!(error instanceof CniError)) return error
  const message = `plugin ${JSON.stringify(type)} gave no valid result: ${error.message}`
  return new CniError(ErrorCode.delegateFailed, message, error.details, { cause: error })
}
