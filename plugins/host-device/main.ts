/** The executable "host-device". */

import { hostLocal } from '../../ipam/host-local/plugin.ts'
import { staticIpam } from '../../ipam/static/plugin.ts'
import { runPlugin } from '../../lib/cni/run.ts'
import { hostDevice } from './plugin.ts'

await runPlugin(hostDevice, [hostLocal, staticIpam])
