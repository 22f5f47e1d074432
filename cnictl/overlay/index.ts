/** The commands about overlay networks. */

import type { CommandGroup } from '../command.ts'
import { networks } from './networks.ts'
import { peers } from './peers.ts'

export const overlay: CommandGroup = {
  name: 'overlay',
  summary: 'examine overlay networks of this host',
  description:
    'Compares what the kernel of this host has of overlay networks with what is wanted, and asks the other hosts. ' +
    'Nothing is changed. Needs root.',
  commands: [networks, peers],
}
