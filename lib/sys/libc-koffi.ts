/** libc over koffi and the runtime's services on Node.js. */

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants } from 'node:os'
import koffi from 'koffi'
import { bindLibc } from './koffi-functions.ts'
import type { Host, SpawnOptions } from './libc-symbols.ts'

export const libc = bindLibc(koffi)

export const host: Host = {
  sha512: text => createHash('sha512').update(text).digest('hex'),

  spawnSync(path: string, options: SpawnOptions) {
    const child = spawnSync(path, options.arguments ?? [], {
      env: options.environment,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', options.captureStderr ? 'pipe' : 'inherit'],
      ...(options.input === undefined ? {} : { input: options.input }),
      encoding: 'utf8',
      maxBuffer: 64 << 20,
    })
    // EPIPE only says that the program ended without reading all of its input, which is its own affair.
    if (child.error && (child.error as NodeJS.ErrnoException).code !== 'EPIPE') throw child.error
    const signal = child.signal === null ? 0 : constants.signals[child.signal]
    return { status: child.status ?? 128 + signal, stdout: child.stdout, stderr: child.stderr ?? '' }
  },
}
