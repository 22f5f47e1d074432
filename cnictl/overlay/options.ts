/** Options of all commands about overlay networks, and the reading of their values. */

import { DEFAULT_AGENT_SOCKET } from '../../lib/overlay/agent-protocol.ts'
import type { Context, Input, OptionDescription } from '../command.ts'
import { textOption } from '../options.ts'
import { configurationDirectory } from '../settings.ts'

export const overlayOptions: readonly OptionDescription[] = [
  { flags: '--socket <path>', description: `where the agent listens (default ${DEFAULT_AGENT_SOCKET})` },
  {
    flags: '--config-dir <dir>',
    description: 'where configurations of networks without agent are (env NETCONFPATH, else /etc/cni/net.d)',
  },
  { flags: '--json', description: 'print one JSON document, for success and for failure' },
]

export const probeOption: OptionDescription = {
  flags: '--without-probe',
  description: 'do not ask the other hosts; compare tables only',
}

export interface OverlaySources {
  readonly socket: string
  readonly configDirectory: string
}

export function readSources(input: Input, context: Context): OverlaySources {
  return {
    socket: textOption(input, 'socket') ?? DEFAULT_AGENT_SOCKET,
    configDirectory: configurationDirectory(input, context),
  }
}
