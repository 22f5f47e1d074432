/** Options that several commands have, and the reading of their values. */

import type { Input, OptionDescription } from './command.ts'

export const networkOptions: readonly OptionDescription[] = [
  {
    flags: '--config-dir <dir>',
    description: 'where network configurations are (env NETCONFPATH, else /etc/cni/net.d)',
  },
  {
    flags: '--plugin-dir <dirs>',
    description: 'where plugins are, with ":" between (env CNI_PATH, else /opt/cni/bin)',
  },
  { flags: '--cache-dir <dir>', description: 'where results are kept (default /var/lib/cni)' },
  { flags: '--json', description: 'print one JSON document, for success and for failure' },
]

export const attachmentOptions: readonly OptionDescription[] = [
  { flags: '-i, --ifname <name>', description: 'interface in the container (env CNI_IFNAME, else eth0)' },
  { flags: '--container-id <id>', description: 'the container (default: derived from the namespace, as cnitool does)' },
  { flags: '--args <args>', description: 'CNI_ARGS, "KEY=VALUE;KEY=VALUE" (env CNI_ARGS)' },
  { flags: '--capability-args <json>', description: 'capability arguments, a JSON object (env CAP_ARGS)' },
]

/** A text option's value, with the environment's in its place; empty counts as not given. */
export function textOption(input: Input, name: string, fromEnvironment?: string): string | undefined {
  const value = input.options[name]
  const given = typeof value === 'string' ? value : fromEnvironment
  return given === '' ? undefined : given
}

export function listOption(input: Input, name: string): readonly string[] {
  const value = input.options[name]
  return Array.isArray(value) ? value : []
}

export function switchOption(input: Input, name: string): boolean {
  return input.options[name] === true
}
