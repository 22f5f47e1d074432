/** The executable "overlay". */

import { cluster } from '../../ipam/cluster/plugin.ts'
import { hostLocal } from '../../ipam/host-local/plugin.ts'
import { staticIpam } from '../../ipam/static/plugin.ts'
import { runPlugin } from '../../lib/cni/run.ts'
import { overlay } from './plugin.ts'

await runPlugin(overlay, [hostLocal, staticIpam, cluster])
