/** The portmap plugin: ports of the host that lead to a container which other plugins have attached. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const portmap: Plugin = {
  name: 'portmap',
  about: 'portmap: forwards ports of the host to a container',
  supportedVersions: cniVersions,
  add,
  del,
  check,
  gc,
  status,
}
