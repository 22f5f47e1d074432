/** The executable "bandwidth". */

import { runPlugin } from '../../lib/cni/run.ts'
import { bandwidth } from './plugin.ts'

await runPlugin(bandwidth)
