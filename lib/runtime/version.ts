/** Versions of the specification as numbers: a configuration may name one that this library does not know. */

import type { cniVersions } from '../cni/types.ts'

/** The newest version that this library speaks. */
export const newestVersion = '1.1.0' satisfies (typeof cniVersions)[number]

/** What a configuration without `cniVersion` has. @see SPEC 1.1.0, "Version considerations" */
export const defaultVersion = '0.1.0' satisfies (typeof cniVersions)[number]

/** Whether the text is a version as libcni reads one: one to three numbers with dots between them. */
export function isVersion(text: string): boolean {
  return /^[0-9]+(\.[0-9]+){0,2}$/.test(text)
}

/** Negative, zero or positive, as for Array.sort; a missing minor or micro number counts as 0. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a.split('.'), b.split('.')]
  for (let index = 0; index < 3; index++) {
    const difference = Number(left[index] ?? 0) - Number(right[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** The version to use of those that a configuration names: the newest that this library speaks. */
export function selectVersion(cniVersion: string | undefined, alternatives: readonly string[] | undefined): string {
  if (alternatives === undefined) return cniVersion ?? defaultVersion
  const spoken = [...alternatives, ...(cniVersion === undefined ? [] : [cniVersion])]
    .filter(version => compareVersions(version, newestVersion) <= 0)
    .sort(compareVersions)
  // None is spoken: the plugin refuses the one that is named, with the versions it has.
  return spoken.at(-1) ?? cniVersion ?? defaultVersion
}
