/** The process as the protocol sees it, in one object, so that tests give another. */

import { decodeText, encodeText } from '../sys/bytes.ts'
import { readAll, writeAll } from '../sys/file.ts'
import type { Environment } from './environment.ts'

export interface StandardStreams {
  readonly environment: Environment
  readStdin(): string
  writeStdout(text: string): void
  /** Never fails: nothing depends on its being read. */
  writeStderr(text: string): void
}

/** This process, over libc: `process.stdout` and `process.stdin` would cost 10 ms each. */
export function processStreams(): StandardStreams {
  return {
    environment: process.env as Environment,
    readStdin: () => decodeText(readAll(0)),
    writeStdout: text => writeAll(1, encodeText(text)),
    writeStderr: text => {
      try {
        writeAll(2, encodeText(text))
      } catch {
        // Closed, or a full disk.
      }
    },
  }
}
