/** Where a demo takes place. */

import { createHost, endHost, type Host } from '../../test/harness/index.ts'
import { claim } from './report.ts'

/** Runs the demo on a host that is removed however it ends; gives what is left of it all the same. */
export async function onHost(demonstrate: (host: Host) => Promise<void>): Promise<string[]> {
  const host = createHost()
  try {
    await demonstrate(host)
  } catch (error) {
    claim(false, 'the demo ran to its end', error instanceof Error ? error.message : String(error))
  }
  return await endHost(host)
}
