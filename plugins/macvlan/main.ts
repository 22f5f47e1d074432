/** The executable "macvlan". */

import { hostLocal } from '../../ipam/host-local/plugin.ts'
import { staticIpam } from '../../ipam/static/plugin.ts'
import { runPlugin } from '../../lib/cni/run.ts'
import { macvlan } from './plugin.ts'

await runPlugin(macvlan, [hostLocal, staticIpam])
