/** The CNI_* variables: which verb needs which, and what may stand in them. @see SPEC 1.1.0, "Parameters" */

import { encodeText } from '../sys/bytes.ts'
import { CniError, ErrorCode } from './errors.ts'
import type { Command, NetnsUse } from './types.ts'
import { commands } from './types.ts'

export type Environment = Readonly<Record<string, string>>

type Variable = 'CNI_CONTAINERID' | 'CNI_NETNS' | 'CNI_IFNAME' | 'CNI_PATH'

/** What must be set and not empty. CNI_ARGS is optional everywhere, and so is all that is not listed. */
export const requiredVariables: Readonly<Record<Command, readonly Variable[]>> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  GC: ['CNI_PATH'],
  STATUS: [],
  VERSION: [],
}

/** IFNAMSIZ - 1, linux/if.h. */
const IFNAME_BYTES = 15
const nameOrId = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

/**
 * @param netns a plugin that works on the host's own namespace need not be told which it is
 * @throws CniError code 4 for a command that is none, and when a variable is missing that it needs
 */
export function readCommand(environment: Environment, netns?: NetnsUse): Command {
  const text = environment.CNI_COMMAND ?? ''
  const command = commands.find(known => known === text)
  if (command === undefined) {
    throw new CniError(ErrorCode.invalidEnvironment, `unknown CNI_COMMAND: ${text}`, `known: ${commands.join(', ')}`)
  }
  const missing = requiredVariables[command].filter(
    name => !environment[name] && !(name === 'CNI_NETNS' && netns === 'own'),
  )
  if (missing.length > 0) {
    throw new CniError(
      ErrorCode.invalidEnvironment,
      `required env variables [${missing.join(',')}] missing`,
      `a runtime sets them for ${command}: see the CNI specification, "Parameters"`,
    )
  }
  return command
}

/** The directories of CNI_PATH, in order. */
export function pluginDirectories(environment: Environment): string[] {
  return (environment.CNI_PATH ?? '').split(':').filter(directory => directory !== '')
}

/** @throws CniError code 4 */
export function checkContainerId(containerId: string): void {
  if (nameOrId.test(containerId)) return
  throw new CniError(ErrorCode.invalidEnvironment, 'invalid characters in containerID', containerId)
}

/** @throws CniError code 7 */
export function checkNetworkName(name: string): void {
  if (name === '') throw new CniError(ErrorCode.invalidNetworkConfig, 'missing network name', 'set the key "name"')
  if (nameOrId.test(name)) return
  throw new CniError(ErrorCode.invalidNetworkConfig, 'invalid characters found in network name', name)
}

/** What the kernel takes as an interface's name (dev_valid_name in net/core/dev.c). @throws CniError code 4 */
export function checkInterfaceName(name: string): void {
  if (name === '') throw badInterfaceName('interface name is empty', name)
  if (encodeText(name).length > IFNAME_BYTES) {
    throw badInterfaceName('interface name is too long', name, `it has more than ${IFNAME_BYTES} bytes: `)
  }
  if (name === '.' || name === '..') throw badInterfaceName('interface name is . or ..', name)
  if (name === 'all' || name === 'default') {
    throw badInterfaceName('interface name is all or default', name, 'the kernel keeps them for its settings: ')
  }
  // Compiling a regular expression costs more than this loop; it is left to characters beyond ASCII.
  for (const character of name) {
    const code = character.codePointAt(0) ?? 0
    if (code === 0) throw badInterfaceName('interface name contains a NUL character', name)
    if (character === '%') {
      throw badInterfaceName('interface name contains %', name, 'the kernel would put a number in its place: ')
    }
    if (character === '/' || character === ':' || (code < 128 ? asciiSpace.includes(character) : isSpace(character))) {
      throw badInterfaceName('interface name contains / or : or whitespace characters', name)
    }
  }
}

const asciiSpace = ' \t\n\v\f\r'

/** As Go's unicode.IsSpace: \s lacks U+0085, and has U+FEFF, which is none. */
function isSpace(character: string): boolean {
  return /[\s\u0085]/.test(character) && character !== '\ufeff'
}

function badInterfaceName(message: string, name: string, rule = ''): CniError {
  return new CniError(ErrorCode.invalidEnvironment, message, `${rule}CNI_IFNAME is ${JSON.stringify(name)}`)
}
