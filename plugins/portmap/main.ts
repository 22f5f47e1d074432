/** The executable "portmap". */

import { runPlugin } from '../../lib/cni/run.ts'
import { portmap } from './plugin.ts'

runPlugin(portmap)
