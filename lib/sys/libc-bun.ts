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
      status: child.exitCode ?? 128 + (child.signalCode === null ? 0 : 1),
      stdout: child.stdout.toString(),
      stderr: child.stderr?.toString() ?? '',
    }
  },
}
