/** The part of Bun's interface that the project uses; the full types would hide what Node lacks. */

declare module 'bun:ffi' {
  export function dlopen(
    name: string,
    symbols: Record<string, { args: readonly string[]; returns: string }>,
  ): { symbols: Record<string, (...parameters: never[]) => unknown> }
  export const read: { i32(address: number, offset: number): number }
}

declare namespace Bun {
  /** Collects garbage; with `true` before it returns. */
  function gc(force: boolean): number
  class CryptoHasher {
    constructor(algorithm: 'sha512')
    update(text: string): this
    digest(encoding: 'hex'): string
  }
  function spawnSync(
    command: string[],
    options: {
      env: Readonly<Record<string, string>>
      stdin: 'ignore' | Uint8Array
      stdout: 'pipe'
      stderr: 'pipe' | 'inherit'
    },
  ): { exitCode: number | null; signalCode: string | null; stdout: Uint8Array; stderr: Uint8Array | null }
}
