/** The host plugin: the host's own network, told to a container that shares it. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { status } from './status.ts'

export const host: Plugin = {
  name: 'host',
  about: "host: passes the host's own network through to a container that shares it",
  supportedVersions: cniVersions,
  netns: 'own',
  add,
  // Nothing was made, so nothing is left.
  del() {},
  check,
  gc() {},
  status,
}
