/** The executable "host". */

import { runPlugin } from '../../lib/cni/run.ts'
import { host } from './plugin.ts'

await runPlugin(host)
