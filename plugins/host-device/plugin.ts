/** The host-device plugin: an interface of the host moves into a container, and back. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const hostDevice: Plugin = {
  name: 'host-device',
  about: 'host-device: moves an interface of the host into a container, and back',
  supportedVersions: cniVersions,
  add,
  del,
  check,
  gc,
  status,
}
