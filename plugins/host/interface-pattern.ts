/** The key "interfaces": which of the host's interfaces count. */

/**
 * Whether one of an interface's names is chosen: by any of the patterns, or by none where all begin with "!", and not by
 * one that does.
 */
export function isChosen(patterns: readonly string[], names: readonly string[]): boolean {
  let [chosen, choosing] = [false, false]
  for (const pattern of patterns) {
    const excludes = pattern.startsWith('!')
    if (!excludes) choosing = true
    if (!names.some(name => matches(excludes ? pattern.slice(1) : pattern, name))) continue
    if (excludes) return false
    chosen = true
  }
  return chosen || !choosing
}

/** "*" stands for any characters, also none. */
function matches(pattern: string, name: string): boolean {
  const [first = '', ...others] = pattern.split('*')
  const last = others.pop()
  if (last === undefined) return name === pattern
  const end = name.length - last.length
  if (!name.startsWith(first) || !name.endsWith(last) || end < first.length) return false
  let start = first.length
  for (const part of others) {
    const found = name.indexOf(part, start)
    if (found < 0 || found + part.length > end) return false
    start = found + part.length
  }
  return true
}
