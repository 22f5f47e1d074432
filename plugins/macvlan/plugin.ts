/** The macvlan plugin: containers with addresses of their own on a network interface of the host. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const macvlan: Plugin = {
  name: 'macvlan',
  about: 'macvlan: puts a container on the network of a host interface, with a MAC address of its own',
  supportedVersions: cniVersions,
  arguments: ['MAC'],
  add,
  del,
  check,
  gc,
  status,
}
