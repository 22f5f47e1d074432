/** The executable "static". */

import { runPlugin } from '../../lib/cni/run.ts'
import { staticIpam } from './plugin.ts'

await runPlugin(staticIpam)
