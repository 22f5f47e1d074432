/** The executable "tuning". */

import { runPlugin } from '../../lib/cni/run.ts'
import { tuning } from './plugin.ts'

runPlugin(tuning)
