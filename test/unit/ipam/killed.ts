/**
 * A process that is killed, or a power that fails, between any two system calls: from a chosen call on, libc changes nothing
 * any more. What was opened is closed, and locks are released, as the kernel does for the dead.
 */

import { libc } from '#libc'

const changing = ['mkdir', 'open', 'write', 'pwrite', 'rename', 'unlink', 'rmdir', 'ftruncate', 'utimensat', 'futimens']

const O_CREAT = 0o100
const O_TRUNC = 0o1000

export class Killed extends Error {
  constructor() {
    super('killed')
    this.name = 'Killed'
  }
}

type Call = (...parameters: unknown[]) => number

/**
 * Runs a function and kills it at its n-th changing call, counted from 1.
 *
 * @param how "before" the call has changed anything; or "torn": a file's length is there but its bytes are not yet, as file systems
 *   show it after a power failure, and of a write into the index there is the first half
 * @returns whether there were so many calls
 */
export function killAt(call: number, how: 'before' | 'torn', run: () => unknown): boolean {
  const table = libc as unknown as Record<string, Call>
  const originals = new Map(changing.map(name => [name, table[name] as Call]))
  let count = 0
  let isDead = false
  for (const [name, original] of originals) {
    table[name] = (...parameters) => {
      const changes = name !== 'open' || (Number(parameters[1]) & (O_CREAT | O_TRUNC)) !== 0
      if (!changes) return original(...parameters)
      if (!isDead && ++count < call) return original(...parameters)
      const bytes = parameters[1]
      if (!isDead && how === 'torn' && bytes instanceof Uint8Array) {
        if (name === 'write') original(parameters[0], new Uint8Array(bytes.length), bytes.length)
        if (name === 'pwrite') original(parameters[0], bytes, bytes.length >> 1, parameters[3])
      }
      isDead = true
      throw new Killed()
    }
  }
  try {
    run()
  } catch (error) {
    if (!isDead) throw error
  } finally {
    for (const [name, original] of originals) table[name] = original
  }
  return isDead
}
