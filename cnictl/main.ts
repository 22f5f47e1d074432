/** cnictl's entry: takes the command line apart, runs the command, shows what it reports. */

import { constants } from 'node:os'
import { CommanderError } from 'commander'
import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import type { Context } from './command.ts'
import { ConfigurationError, ExitCode, UsageError } from './command.ts'
import { commands } from './commands.ts'
import { buildProgram } from './program.ts'
import { errorDocument, errorLines } from './render/error.ts'

/** Where cnictl reads from and writes to. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly workingDirectory: () => string
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
}

const process_: Surroundings = {
  environment: process.env,
  workingDirectory: () => process.cwd(),
  stdout: text => process.stdout.write(text),
  stderr: text => process.stderr.write(text),
}

const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs a command line and returns the exit code (see ExitCode).
 * @param argv The arguments without the program's name.
 */
export async function main(argv: readonly string[], surroundings: Surroundings = process_): Promise<number> {
  const { stdout, stderr } = surroundings
  const json = argv.includes('--json')
  const ending = new AbortController()
  let received: (typeof endingSignals)[number] | undefined
  const stop = (signal: NodeJS.Signals) => {
    received ??= endingSignals.find(name => name === signal)
    ending.abort(new CniError(ErrorCode.interrupted, `interrupted by ${signal}`))
  }
  for (const signal of endingSignals) process.on(signal, stop)

  const context: Context = {
    environment: surroundings.environment,
    workingDirectory: surroundings.workingDirectory,
    warn: message => stderr(`cnictl: ${message}\n`),
    signal: ending.signal,
  }
  let exitCode: number = ExitCode.done
  const program = buildProgram(
    commands,
    { stdout, stderr: json ? () => {} : stderr },
    async (command, input, title) => {
      try {
        const report = await command.run(input, context)
        stdout(json ? jsonText(report.document) : `${report.text}\n`)
        if (report.failed === true) exitCode = ExitCode.failed
      } catch (error) {
        exitCode = exitCodeOf(error)
        const lines = errorLines(error)
        if (json) stdout(jsonText(errorDocument(error)))
        else stderr(`cnictl ${title}: ${lines.join('\n')}\n`)
        if (!json && exitCode === ExitCode.usage) stderr(`See "cnictl ${title} --help".\n`)
      }
    },
  )
  try {
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    // Help ends with an exception as well.
    exitCode = error.exitCode === 0 ? ExitCode.done : ExitCode.usage
    const message = error.message.replace(/^error: /, '')
    if (json && exitCode !== ExitCode.done) stdout(jsonText(errorDocument(new UsageError(message))))
  } finally {
    for (const signal of endingSignals) process.off(signal, stop)
  }
  return received === undefined ? exitCode : ExitCode.signal + constants.signals[received]
}

function jsonText(document: unknown): string {
  return `${JSON.stringify(document, null, 2)}\n`
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return ExitCode.usage
  return error instanceof ConfigurationError ? ExitCode.configuration : ExitCode.failed
}
