/** libc and the runtime's services in an executable compiled with Bun. */

import { dlopen, read } from 'bun:ffi'
import type { Host, Libc, SpawnOptions } from './libc-symbols.ts'
import { libcSymbols } from './libc-symbols.ts'

// i64_fast gives a number where the value fits in one; every 64-bit result here does.
const kinds = { i32: 'i32', u32: 'u32', i64: 'i64_fast', usize: 'usize', ptr: 'ptr' } as const

const declarations: Record<string, { args: string[]; returns: string }> = {
  __errno_location: { args: [], returns: 'ptr' },
}
for (const [name, [result, ...parameters]] of Object.entries(libcSymbols)) {
  declarations[name] = { args: parameters.map(kind => kinds[kind]), returns: kinds[result] }
}

// A bare soname or an absolute path only: dlopen of any other name tries the working directory.
const { symbols } = dlopen('libc.so.6', declarations)

const errnoAddress = (symbols.__errno_location as () => number)()

export const libc = { ...symbols, errno: () => read.i32(errnoAddress, 0) } as unknown as Libc

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
