/** libc in an executable compiled with Bun: over bun:ffi, which needs the JIT compiler. */

import { dlopen, read } from 'bun:ffi'
import { type Libc, libcSymbols } from './libc-symbols.ts'

export { host } from './host-bun.ts'

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
