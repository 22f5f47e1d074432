/** The bandwidth plugin: limits how much a container receives and sends. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const bandwidth: Plugin = {
  name: 'bandwidth',
  about: 'bandwidth: limits how much a container receives and sends',
  // Older results have no interfaces, to which the ifb could be added.
  supportedVersions: cniVersions.filter(version => version !== '0.1.0' && version !== '0.2.0'),
  add,
  del,
  check,
  gc,
  status,
}
