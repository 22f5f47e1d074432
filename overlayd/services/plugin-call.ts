/** Runs a CNI plugin as a runtime does, for interfaces of the agent's own. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'

export interface PluginCall {
  readonly directory: string
  readonly type: string
  readonly command: 'ADD' | 'DEL'
  readonly containerId: string
  readonly netns: string
  readonly ifname: string
  readonly config: Readonly<Record<string, unknown>>
}

const TIMEOUT_MS = 60_000
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** @returns what the plugin printed @throws CniError, the plugin's own where it gave one */
export async function callPlugin(call: PluginCall): Promise<unknown> {
  const { directory, type, command, containerId, netns, ifname, config } = call
  const { status, stdout, stderr } = await run(join(directory, type), JSON.stringify(config), {
    PATH,
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: ifname,
    CNI_PATH: directory,
  })
  const answer = parse(stdout)
  if (status === 0) return answer
  const { code, msg, details } = (answer ?? {}) as { code?: number; msg?: string; details?: string }
  throw new CniError(
    code ?? ErrorCode.delegateFailed,
    `${command} of ${join(directory, type)} for "${containerId}": ${msg ?? (stderr.trim() || `status ${status}`)}`,
    details,
  )
}

function parse(text: string): unknown {
  try {
    return text.trim() === '' ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

function run(
  path: string,
  input: string,
  env: Readonly<Record<string, string>>,
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, { env, stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.on('error', error =>
      reject(
        new CniError(
          ErrorCode.delegateFailed,
          `cannot run ${path}: ${error.message}`,
          'set "mesh.pluginDirectory" to the directory of the CNI plugins',
        ),
      ),
    )
    child.on('close', status => resolve({ status, stdout, stderr }))
    // It may end without having read its input.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}
