/** Programs run to their end, with an environment that is said and nothing inherited. */

import { spawnSync } from 'node:child_process'

export interface Outcome {
  /** Exit status; undefined when a signal ended the program. */
  readonly status: number | undefined
  readonly signal: NodeJS.Signals | undefined
  readonly stdout: string
  readonly stderr: string
}

export interface ExecuteOptions {
  readonly input?: string | Uint8Array
  /** Everything that the program gets. Default: PATH alone. */
  readonly environment?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** After this many milliseconds the program is killed. Default 20 seconds. */
  readonly timeoutMs?: number
}

/** Where the programs of the host are found. */
export const programPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Runs a program and tells how it ended. Throws when it could not be started or did not end in time. */
export function execute(argv: readonly string[], options: ExecuteOptions = {}): Outcome {
  const [program = '', ...rest] = argv
  const { status, signal, stdout, stderr, error } = spawnSync(program, rest, {
    input: options.input ?? '',
    env: { ...(options.environment ?? { PATH: programPath }) },
    cwd: options.cwd,
    timeout: options.timeoutMs ?? 20_000,
    killSignal: 'SIGKILL',
    maxBuffer: 1 << 28,
    encoding: 'utf8',
  })
  // A program may end without having read its input (VERSION does): it has still ended as it wanted.
  const endedUnread = (error as NodeJS.ErrnoException | undefined)?.code === 'EPIPE' && (status ?? signal) !== null
  if (error !== undefined && !endedUnread)
    throw new Error(`Cannot run "${argv.join(' ')}": ${error.message}`, { cause: error })
  return { status: status ?? undefined, signal: signal ?? undefined, stdout, stderr }
}

/** As execute(), for a program that must succeed: gives its standard output, or throws with all that it said. */
export function output(argv: readonly string[], options: ExecuteOptions = {}): string {
  const outcome = execute(argv, options)
  if (outcome.status === 0) return outcome.stdout
  const how = outcome.signal ?? `status ${outcome.status}`
  const input = typeof options.input === 'string' && options.input !== '' ? `\n${options.input}` : ''
  throw new Error(`"${argv.join(' ')}" ended with ${how}: ${outcome.stderr}${outcome.stdout}${input}`)
}
