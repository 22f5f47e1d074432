/** The executable "firewall". */

import { runPlugin } from '../../lib/cni/run.ts'
import { firewall } from './plugin.ts'

await runPlugin(firewall)
