/** Starting a plugin and waiting for it. */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { CniError, ErrorCode } from '../cni/errors.ts'
import type { PluginCall, PluginOutcome } from './plugin-call.ts'

/** An executable that is being written cannot be started (ETXTBSY): libcni waits for up to five seconds as well. */
const BUSY_RETRIES = 50
const BUSY_WAIT_MS = 100

/** What a daemon that a plugin left behind may hold the pipes open for, after the plugin itself has ended. */
const PIPE_GRACE_MS = 1_000

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

function cannotStart(call: PluginCall, error: unknown): CniError {
  const remedies: Record<string, string> = {
    EACCES: 'make it executable: chmod 755',
    ENOENT: 'the program that runs it (its "#!" line or its loader) is missing',
    ENOEXEC: 'it is no executable of this machine',
    ETXTBSY: 'it is still being written: install plugins under a temporary name and rename them',
  }
  const code = errorCode(error)
  return new CniError(
    ErrorCode.delegateFailed,
    `plugin ${JSON.stringify(call.plugin)} (${call.file}) cannot be started: ${code || String(error)}`,
    remedies[code],
    { cause: error },
  )
}

/** One attempt. @throws the error of spawn, whose `code` names the errno */
function attempt(call: PluginCall): Promise<PluginOutcome> {
  return new Promise((resolve, reject) => {
    // Where the errno is an unusual one (ETXTBSY, ENOEXEC) spawn throws it at once; the promise then rejects with it.
    const child = spawn(call.file, [], { env: call.environment, stdio: ['pipe', 'pipe', 'pipe'] })
    const stop = () => child.kill('SIGTERM')
    let grace: NodeJS.Timeout | undefined
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] }

    child.stdout.on('data', (chunk: Buffer) => output.stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => {
      output.stderr.push(chunk)
      process.stderr.write(chunk)
    })
    // A plugin that ends without having read its input breaks the pipe: its answer says why, not this error.
    child.stdin.on('error', () => {})
    child.on('error', error => {
      call.signal?.removeEventListener('abort', stop)
      reject(error)
    })
    child.on('exit', () => {
      grace = setTimeout(() => {
        child.stdout.destroy()
        child.stderr.destroy()
      }, PIPE_GRACE_MS)
    })
    child.on('close', (status, signal) => {
      clearTimeout(grace)
      call.signal?.removeEventListener('abort', stop)
      resolve({
        status: status ?? 128 + (signal === null ? 0 : constants.signals[signal]),
        stdout: Buffer.concat(output.stdout).toString(),
        stderr: Buffer.concat(output.stderr).toString(),
      })
    })
    call.signal?.addEventListener('abort', stop)
    if (call.signal?.aborted) stop()
    child.stdin.end(call.input)
  })
}

/** Runs a plugin to its end; what it writes on standard error is passed on as it comes. @throws CniError 106 */
export async function runPlugin(call: PluginCall): Promise<PluginOutcome> {
  for (let retries = 0; ; retries++) {
    try {
      return await attempt(call)
    } catch (error) {
      if (errorCode(error) !== 'ETXTBSY' || retries === BUSY_RETRIES) throw cannotStart(call, error)
      await sleep(BUSY_WAIT_MS)
    }
  }
}
