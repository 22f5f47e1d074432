/** The bridge plugin: veth pairs on a Linux bridge, gateway, masquerade. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const bridge: Plugin = {
  name: 'bridge',
  about: 'bridge: connects a container to a Linux bridge with a veth pair',
  supportedVersions: cniVersions,
  arguments: ['MAC'],
  add,
  del,
  check,
  gc,
  status,
}
