/** The tuning plugin: sysctls of the container's namespace and settings of an interface that another plugin made. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const tuning: Plugin = {
  name: 'tuning',
  about: 'tuning: changes sysctls and settings of a container’s interface',
  supportedVersions: cniVersions,
  arguments: ['MAC'],
  add,
  del,
  check,
  gc,
  status,
}
