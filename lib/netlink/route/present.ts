/** Objects whose optional keys are absent, not undefined. */

/** Without the keys that have no value. */
export function present<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  // A loop: what fromEntries and filter cost at their first call is felt in every start of a plugin.
  const found: Partial<T> = {}
  for (const name in values) if (values[name] !== undefined) found[name] = values[name]
  return found as never
}
