/** What an operator should know although the verb succeeds. */

import type { NetworkRequest } from '../cni/types.ts'
import { encodeText } from '../sys/bytes.ts'
import { writeAll } from '../sys/file.ts'

/** Says it on standard error, which runtimes log. One that is closed or full is no reason to fail. */
export function warn({ config, network }: NetworkRequest, message: string): void {
  try {
    writeAll(2, encodeText(`${config.type}: network "${network}": ${message}\n`))
  } catch {
    // Nobody listens.
  }
}
