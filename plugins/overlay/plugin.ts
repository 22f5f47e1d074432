/** The overlay plugin: one network over many hosts, through VXLAN tunnels between them. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const overlay: Plugin = {
  name: 'overlay',
  about: 'overlay: connects containers on different hosts through VXLAN tunnels',
  supportedVersions: cniVersions,
  arguments: ['MAC', 'SERVICE', 'PUBLISH'],
  add,
  del,
  check,
  gc,
  status,
}
