/** The firewall plugin: what containers send is let through the host, and who may reach them. */

import { cniVersions, type Plugin } from '../../lib/cni/types.ts'
import { add } from './add.ts'
import { check } from './check.ts'
import { del } from './del.ts'
import { gc } from './gc.ts'
import { status } from './status.ts'

export const firewall: Plugin = {
  name: 'firewall',
  about: 'firewall: lets the traffic of containers through the host, and keeps networks apart',
  // There is no prevResult before.
  supportedVersions: cniVersions.filter(version => version !== '0.1.0' && version !== '0.2.0'),
  netns: 'any',
  add,
  del,
  check,
  gc,
  status,
}
