/** A sysctl that is configured twice: JSON.parse keeps the last one silently, and the Go plugin refuses it. */

import { CniError, ErrorCode } from '../../lib/cni/errors.ts'

/** @param json a JSON document, which is known to be one @throws CniError code 7 */
export function refuseDuplicateKeys(json: string): void {
  const seen = new Set<string>()
  let depth = 0
  /** How deep the members of the document's "sysctl" are. */
  let inside = 0
  let expectsKey = false
  for (let index = 0; index < json.length; index++) {
    const character = json[index]
    if (character === '"') {
      const start = index
      for (index++; json[index] !== '"'; index++) if (json[index] === '\\') index++
      if (!expectsKey) continue
      expectsKey = false
      if (depth !== 1 && depth !== inside) continue
      const key = JSON.parse(json.slice(start, index + 1)) as string
      if (depth === 1) {
        inside = key.toLowerCase() === 'sysctl' ? 2 : 0
        continue
      }
      if (seen.has(key)) {
        throw new CniError(
          ErrorCode.invalidNetworkConfig,
          `duplicated sysctl keys are not allowed: ${JSON.stringify(key)}`,
          'remove all but one from "sysctl"',
        )
      }
      seen.add(key)
    } else if (character === '{') {
      depth++
      expectsKey = true
    } else if (character === '[') {
      depth++
      expectsKey = false
    } else if (character === '}' || character === ']') {
      depth--
      expectsKey = false
    } else if (character === ',') {
      // In a list, the next text is taken for a key of an object that is not looked at: lists are no members of "sysctl".
      expectsKey = true
    }
  }
}
