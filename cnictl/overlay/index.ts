/** The commands about overlay networks. */

import type { CommandGroup } from '../command.ts'
import { check } from './check.ts'
import { networks } from './networks.ts'
import { peers } from './peers.ts'
import { privileged } from './privileged.ts'
import { services } from './services.ts'

export const overlay: CommandGroup = {
  name: 'overlay',
  summary: 'examine overlay networks of this host',
  description:
    'Compares what the kernel of this host has of overlay networks with what is wanted, and asks the other hosts. ' +
    'Nothing of it is changed. Needs root.',
  commands: [networks, peers, services, check].map(privileged),
}
