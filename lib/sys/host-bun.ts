/** The services of the Bun runtime. */

import type { Host, SpawnOptions } from './libc-symbols.ts'

/** Numbers of signal(7), the same on x86-64 and arm64. */
const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
}

export const host: Host = {
  sha512: text => new Bun.CryptoHasher('sha512').update(text).digest('hex'),

  spawnSync(path: string, options: SpawnOptions) {
    const child = Bun.spawnSync([path, ...(options.arguments ?? [])], {
      env: options.environment,
      stdin: options.input === undefined ? 'ignore' : new TextEncoder().encode(options.input),
      stdout: 'pipe',
      stderr: options.captureStderr ? 'pipe' : 'inherit',
    })
    return {
      status: child.exitCode ?? 128 + (signalNumbers[child.signalCode ?? ''] ?? 0),
      stdout: child.stdout.toString(),
      stderr: child.stderr?.toString() ?? '',
    }
  },
}
