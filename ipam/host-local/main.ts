/** The executable "host-local". */

import { runPlugin } from '../../lib/cni/run.ts'
import { hostLocal } from './plugin.ts'

await runPlugin(hostLocal)
