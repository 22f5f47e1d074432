/** The executable "loopback". */

import { runPlugin } from '../../lib/cni/run.ts'
import { loopback } from './plugin.ts'

await runPlugin(loopback)
