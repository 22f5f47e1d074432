/** The functions of libc over koffi, however koffi itself was loaded. */

import { type Libc, libcSymbols } from './libc-symbols.ts'

/** The part of koffi's interface that is used. */
export interface Koffi {
  load(path: string): { func(name: string, result: string, parameters: string[]): unknown }
  errno(): number
}

const kinds = { i32: 'int', u32: 'uint', i64: 'int64_t', usize: 'size_t', ptr: 'void *' } as const

export function bindLibc(koffi: Koffi): Libc {
  const library = koffi.load('libc.so.6')
  const functions: Record<string, unknown> = { errno: () => koffi.errno() }
  for (const [name, [result, ...parameters]] of Object.entries(libcSymbols)) {
    functions[name] = library.func(
      name,
      kinds[result],
      parameters.map(kind => kinds[kind]),
    )
  }
  return functions as unknown as Libc
}
