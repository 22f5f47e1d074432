/** Running iptables-save and iptables-restore. */

import { libc } from '#libc'
import { CniError, ErrorCode } from '../../cni/errors.ts'
import { FileType, statusOf } from '../../sys/file.ts'
import { spawnSync } from '../../sys/host.ts'

type Environment = Readonly<Record<string, string>>

/** Runtimes may call plugins with an empty environment. */
const DIRECTORIES = ['/usr/sbin', '/sbin', '/usr/bin', '/bin', '/usr/local/sbin']
const EXECUTABLE_BITS = 0o111

const directoriesOf = (environment: Environment): string[] => [
  ...new Set([...DIRECTORIES, ...(environment.PATH ?? '').split(':').filter(path => path.startsWith('/'))]),
]

/** The path of the first of the programs that is installed; undefined when none is. */
export function findProgramIfInstalled(names: readonly string[], environment: Environment): string | undefined {
  const directories = directoriesOf(environment)
  for (const name of names) {
    for (const directory of directories) {
      const path = `${directory}/${name}`
      const mode = statusOf(path)?.mode ?? 0
      if ((mode & FileType.MASK) === FileType.REGULAR && (mode & EXECUTABLE_BITS) !== 0) return path
    }
  }
  return undefined
}

/** The path of the first of the programs that is installed. @throws CniError code 108 */
export function findProgram(names: readonly string[], environment: Environment): string {
  const path = findProgramIfInstalled(names, environment)
  if (path !== undefined) return path
  throw new CniError(
    ErrorCode.hostProgramFailed,
    `"${names.join('" or "')}" is in none of ${directoriesOf(environment).join(', ')}`,
    'Install iptables, or remove "ipMasqBackend" or "backend" from the network configuration: nftables needs no program.',
  )
}

const SETPRIV = '/usr/bin/setpriv'

/**
 * The command line, run so that it does not outlive this process: a plugin that is killed while iptables-restore runs
 * would otherwise leave rules that appear after the DEL that was to remove them. The second half is for a plugin that
 * was killed before the first took effect. A host without setpriv (util-linux) does without.
 */
function endingWithThisProcess(command: readonly string[]): readonly string[] {
  if (statusOf(SETPRIV) === undefined) return command
  const ifParentLives = 'test "$PPID" = "$0" && exec "$@"'
  return [SETPRIV, '--pdeathsig', 'KILL', '/bin/sh', '-c', ifParentLives, String(libc.getpid()), ...command]
}

/** Runs the first of the programs that is installed, and returns what it printed. @throws CniError code 108 */
export function runProgram(
  names: readonly string[],
  options: { arguments: readonly string[]; input?: string; environment: Environment },
): string {
  const path = findProgram(names, options.environment)
  // What only reads does no harm when it comes too late.
  const command = [path, ...options.arguments]
  const [program = path, ...words] = options.input === undefined ? command : endingWithThisProcess(command)
  const result = spawnSync(program, {
    arguments: words,
    environment: { PATH: DIRECTORIES.join(':'), ...options.environment },
    ...(options.input !== undefined && { input: options.input }),
    captureStderr: true,
  })
  if (result.status === 0) return result.stdout
  throw new CniError(
    ErrorCode.hostProgramFailed,
    `${path} ${options.arguments.join(' ')} failed with status ${result.status}: ${result.stderr.trim()}`,
    options.input === undefined ? undefined : `It was given:\n${options.input}`,
  )
}
