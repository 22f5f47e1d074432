/** The executable "bridge". */

import { hostLocal } from '../../ipam/host-local/plugin.ts'
import { staticIpam } from '../../ipam/static/plugin.ts'
import { runPlugin } from '../../lib/cni/run.ts'
import { bridge } from './plugin.ts'

await runPlugin(bridge, [hostLocal, staticIpam])
