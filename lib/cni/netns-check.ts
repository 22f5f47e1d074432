/** CNI_NETNS, refused before anything is changed; the Go plugins find out when the link is built already. */

// Not through the folder's index, which would load netlink for plugins that do without.
import { openIfNamespace } from '../netns/inspect.ts'
import { statusOf, statusOfDescriptor, withDescriptor } from '../sys/file.ts'
import type { Environment } from './environment.ts'
import { CniError, ErrorCode } from './errors.ts'
import type { Command, NetnsUse } from './types.ts'

/**
 * Refuses a namespace that the verb cannot work with. ADD and CHECK of a plugin that enters it need a network
 * namespace; DEL must succeed although it is gone. None but a plugin of the host's own may work on the plugin's own,
 * which is the host's, unless CNI_NETNS_OVERRIDE says so (Go's skel knows the variable).
 *
 * @returns whether there is a network namespace at the path
 * @throws CniError code 8
 */
export function checkNetns(
  path: string,
  command: Command,
  environment: Environment,
  use: NetnsUse = 'container',
): boolean {
  const found = inspect(path)
  if (typeof found === 'string') {
    if (command === 'DEL' || use === 'any') return false
    throw new CniError(
      ErrorCode.invalidNetns,
      `failed to open netns ${JSON.stringify(path)}: ${found}`,
      'CNI_NETNS must be the path of a network namespace: /run/netns/<name>, or /proc/<pid>/ns/net',
    )
  }
  const isOwn = found.identity === statusOf('/proc/self/ns/net')?.identity
  if (use === 'own') {
    if (isOwn || command === 'DEL') return true
    throw new CniError(
      ErrorCode.invalidNetns,
      `namespace ${JSON.stringify(path)} is not the host's: this plugin gives a container the host's own network`,
      'use a plugin for containers with a namespace of their own, as bridge, or run the container with host networking',
    )
  }
  const override = environment.CNI_NETNS_OVERRIDE?.toUpperCase()
  if (override === '1' || override === 'TRUE') return true
  if (isOwn) {
    throw new CniError(
      ErrorCode.invalidNetns,
      "plugin's netns and netns from CNI_NETNS should not be the same",
      `CNI_NETNS is ${JSON.stringify(path)}: give the container's namespace, or set CNI_NETNS_OVERRIDE=1`,
    )
  }
  return true
}

/** The namespace's identity, or in words why the path is no network namespace. */
function inspect(path: string): { identity: string } | string {
  if (path.includes('\0')) return 'the path holds a NUL character'
  try {
    const opened = openIfNamespace(path)
    if (opened === 'nothing') return 'no such file or directory'
    if (opened === 'another kind') return 'a namespace, but not a network namespace'
    if (typeof opened === 'string') return 'not a network namespace'
    return withDescriptor(opened, fd => ({ identity: statusOfDescriptor(fd).identity }))
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
