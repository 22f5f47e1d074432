/** overlayd's entry: settings, signals, exit status. */

import { CniError, ErrorCode } from '../lib/cni/errors.ts'
import { release } from '../lib/release.ts'
import { Agent } from './agent.ts'
import { readCommandLine } from './settings.ts'

/** sysexits.h: the service manager need not start it again before something is changed. */
const EX_CONFIG = 78
const EX_SOFTWARE = 70

/** Runs until a signal ends it. @param argv without the program's name @returns the exit status */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    const commandLine = readCommandLine(argv, release)
    if ('exitCode' in commandLine) {
      const stream = commandLine.exitCode === 0 ? process.stdout : process.stderr
      stream.write(commandLine.output)
      return commandLine.exitCode
    }
    return await run(new Agent(commandLine.settings, release))
  } catch (error) {
    process.stderr.write(`overlayd: ${words(error)}\n`)
    return error instanceof CniError && error.code === ErrorCode.invalidNetworkConfig ? EX_CONFIG : 1
  }
}

function words(error: unknown): string {
  if (error instanceof CniError) return [error.message, error.details].filter(Boolean).join('\n')
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

async function run(agent: Agent): Promise<number> {
  // A defect must not leave an agent that serves by half; the service manager starts a whole one.
  process.on('uncaughtException', error => {
    agent.log.error('a defect ends the agent', { error })
    process.exit(EX_SOFTWARE)
  })
  const signalled = new Promise<string>(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal))
  })
  const started = agent.start()
  const outcome = await Promise.race([signalled, started.then(() => undefined)])
  const signal = outcome ?? (await signalled)
  agent.log.info('stopping', { signal })
  await agent.stop()
  return 0
}
