/** The executable "cluster". */

import { runPlugin } from '../../lib/cni/run.ts'
import { cluster } from './plugin.ts'

await runPlugin(cluster)
